"""One seed from top to bottom: begin or resume, update after update, select, write the model."""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import xxhash
import yaml
from torch import nn
from torch.optim import Optimizer

from dataprep.store import files
from model.classifier import Classifier
from pipeline.checkpoint.attempts import Attempt, Origin
from pipeline.checkpoint.format import Checkpoint
from pipeline.checkpoint.run_state import RunState
from pipeline.costs.layers import parameters
from pipeline.distributed.stop import StopRequest
from pipeline.errors import RunError
from pipeline.finetune import checkpoints, record, tuned
from pipeline.finetune.batches import epoch_batches
from pipeline.finetune.checkpoints import Weights
from pipeline.finetune.group import Group
from pipeline.finetune.page import write_report
from pipeline.finetune.predict import predict
from pipeline.finetune.predictions import path_of, write_predictions
from pipeline.finetune.recipe import optimizer_of, rate_of
from pipeline.finetune.record import Record
from pipeline.finetune.results import Counts, write_results
from pipeline.finetune.targets import task_loss
from pipeline.finetune.task import Task
from pipeline.monitor.metrics_logger import MetricsLogger, wandb_id
from pipeline.monitor.run_files import joined_metrics
from pipeline.train.nodes.check import check_nodes
from pipeline.train.run_directory import claim
from pipeline.train.run_log import log_to
from slurm.codes import RESUME_EXIT

log = logging.getLogger("outbound")


def finetune(task: Task, group: Group, stop: StopRequest) -> bool:
    """Train all seeds, one after another; returns whether a stop request has ended it.

    A stop saves a checkpoint after the running update; the same command then continues. Seeds that are done
    stay. Raises RunError or UsageError for what the user can mend.
    """
    for seed in task.settings.seeds:
        if _stopped(task, seed, group, stop):
            return True
        if group.is_first:
            labels = task.targets.labels
            train = Counts.of([example.label for example in task.train.examples], labels)
            write_results(task.settings, train, labels)
            write_report(task.settings.dir)
    return False


def _stopped(task: Task, seed: int, group: Group, stop: StopRequest) -> bool:
    """Train one seed, unless it is done; returns whether it was stopped."""
    run = task.settings.dir / f"seed-{seed}"
    if group.of_first((run / record.RECORD).exists()):
        done = record.read(run)
        task.require_same(done.config, done.data, done.tokenizer)
        return False
    with claim(run, group.rank.world_size) if group.is_first else nullcontext() as claimed:
        number = group.of_first(claimed and claimed.number)
        attempt = claimed or Attempt(run, number)
        log_to(attempt.folder / "log.txt", group.rank.global_rank)
        if group.rank.world_size > 1:
            check_nodes(attempt, task.settings, parameters(task.model), group.rank, group.device)
        return Trainer.of(task, seed, group, attempt).run(stop)


@dataclass(frozen=True)
class Best:
    """The selected weights so far, on the first process."""

    score: float
    step: int
    weights: Weights


@dataclass(kw_only=True)
class Trainer:
    """One process's part of one seed."""

    task: Task
    seed: int
    group: Group
    attempt: Attempt
    model: Classifier
    parameters: dict[str, nn.Parameter]
    """All of them by canonical name."""
    learned: list[nn.Parameter]
    """Those that the loss depends on."""
    optimizer: Optimizer
    best: Best | None = None

    @staticmethod
    def of(task: Task, seed: int, group: Group, attempt: Attempt) -> Trainer:
        """Build model and optimizer."""
        model = task.build().to(group.device.type)
        parameters = dict(model.canonical())
        if not task.settings.lm_coef and "head.weight" in parameters:
            parameters["head.weight"].requires_grad_(False)
        learned = [parameter for parameter in parameters.values() if parameter.requires_grad]
        return Trainer(
            task=task,
            seed=seed,
            group=group,
            attempt=attempt,
            model=model,
            parameters=parameters,
            learned=learned,
            optimizer=optimizer_of(task.settings, learned),
        )

    def run(self, stop: StopRequest) -> bool:
        """Go from the newest checkpoint, or the beginning, to the end or to a stop; True for a stop."""
        now, origin = self._resume()
        logger = None
        try:
            if self.group.is_first:
                logger = self._begin(now, origin)
            now, stopped = self._advance(now, stop, logger)
            if logger and stopped:
                logger.report(f"stopped after update {now.step} as asked; the same command continues")
        finally:
            if logger:
                logger.close(now.step)
        if self.group.is_first:
            if not stopped:
                self._finish(now)
            self._summarise(now, stopped)
        if logger:
            logger.send_rest(stopped)
        self.group.gather(None)  # srun ends the others when one leaves: not while the first still writes
        return stopped

    def _resume(self) -> tuple[RunState, Origin]:
        """Load the newest checkpoint on every process; or begin."""
        found = checkpoints.find_and_link(self.attempt) if self.group.is_first else None
        name = self.group.of_first(found and found[0].name)
        task = self.task
        state = RunState(
            attempt=self.attempt.number,
            config=task.described(),
            sources_fingerprint=task.fingerprint,
            tokenizer_fingerprint=task.initial.tokenizer.fingerprint,
            processes=self.group.rank.world_size,
            stages=1,
        )
        if name is None:
            if self.group.is_first:
                task.pin_start()
            task.initial.fill(self.model, self.seed)
            return state, Origin(attempt=0, step=0)
        checkpoint = Checkpoint.open(self.attempt.folder / "checkpoints" / name)
        then = checkpoint.state
        task.require_same(then.config, then.sources_fingerprint, then.tokenizer_fingerprint)
        checkpoints.restore(checkpoint, task.model, self.parameters, self.optimizer)
        if self.group.is_first:
            self.best = self._best_until(then.step, checkpoint)
        state = replace(
            then,
            attempt=state.attempt,
            config=state.config,
            processes=state.processes,
            resumes=[*then.resumes, then.step],
        )
        return state, found[1] if found else Origin(attempt=0, step=0)

    def _begin(self, now: RunState, origin: Origin) -> MetricsLogger:
        """Own the run, and open what is written to on the way."""
        described, task = self.task.described(), self.task
        epochs = range(task.settings.epochs)
        tokens = sum(task.train.tokens(indices) for epoch in epochs for indices in self._batches(epoch))
        # `outbound status` finds the tokens of the whole training where those of a run stand.
        text = yaml.safe_dump({**described, "seed": self.seed, "train": {"tokens": tokens}}, sort_keys=False)
        files.replace(self.attempt.folder / "config.yaml", text.encode())
        logger = MetricsLogger(
            self.attempt,
            wandb_id(self.attempt.run),
            wandb=task.config.wandb,
            config=described,
            tokens=tokens,
        )
        self.attempt.begin(origin)
        logger.begin()
        start = f"resumed after update {now.step}" if now.step else "started"
        logger.report(
            f"seed {self.seed} {start}: {len(task.train):,} examples, {task.updates:,} updates, "
            f"{self.group.rank.world_size} processes, {self.group.device.type}"
        )
        if task.train.cut:
            logger.report(f"{task.train.cut:,} texts of the training set lost their end (finetune.too_long)")
        return logger

    def _batches(self, epoch: int) -> list[list[int]]:
        settings = self.task.settings
        return epoch_batches(self.task.train.lengths, settings.batch, self.seed, epoch, self.task.keeps_rest)

    def _advance(
        self, now: RunState, stop: StopRequest, logger: MetricsLogger | None
    ) -> tuple[RunState, bool]:
        """Update after update; returns whether a stop request has ended it."""
        task, settings = self.task, self.task.settings
        per_epoch = task.updates // settings.epochs
        epoch, batches, stopped = -1, list[list[int]](), False
        while now.step < task.updates and not stopped:
            began = time.perf_counter()
            if epoch != now.step // per_epoch:
                epoch = now.step // per_epoch
                batches = self._batches(epoch)
            indices = batches[now.step % per_epoch]
            rate = rate_of(settings, now.step, task.updates)
            loss, lm_loss, asked = self.gradients(indices, now.step, bool(stop))
            norm = self.update(rate)
            if not math.isfinite(loss + norm):
                numbers = f"loss {loss} and grad_norm {norm} at update {now.step + 1}"
                raise RunError(f"{numbers}: lower finetune.lr, or lengthen finetune.warmup")
            tokens = task.train.tokens(indices)
            now = replace(
                now,
                step=now.step + 1,
                updates=now.step + 1,
                samples=now.samples + len(indices),
                tokens=now.tokens + tokens,
                loss=loss,
            )
            self.attempt.step = now.step
            stopped = asked > 0
            seconds = time.perf_counter() - began
            if logger:
                row = {
                    "step": now.step,
                    "tokens": now.tokens,
                    "epoch": now.step / per_epoch,
                    "loss": loss,
                    **({"lm_loss": lm_loss} if settings.lm_coef else {}),
                    "lr": rate,
                    "grad_norm": norm,
                    "batch": len(indices),
                    "tokens_per_s": tokens / seconds,
                }
                logger.step(row)
            ended = now.step % per_epoch == 0
            if ended or now.step in settings.evaluate_at:
                now = self._evaluate(now, now.step / per_epoch, logger)
            now = replace(now, seconds=now.seconds + time.perf_counter() - began)
            if ended or stopped or now.step % settings.checkpoint_every == 0:
                self._save(now, logger)
        return now, stopped and now.step < task.updates

    def gradients(self, indices: list[int], step: int, stop: bool) -> tuple[float, float, float]:
        """Compute the gradients of a batch, on all processes together.

        Returns the task's loss, the language model's, and how many processes were asked to stop.
        """
        self.model.train()
        self.optimizer.zero_grad()
        train, settings = self.task.train, self.task.settings
        mine = self.group.share(indices)
        time_steps = max(train.lengths[index] for index in indices)  # of all: so masks are the same
        size = settings.micro_batch or len(indices)
        task_sum = lm_sum = 0.0
        for begin in range(0, len(mine), size):
            micro = mine[begin : begin + size]
            batch = train.batch(micro, time_steps, self.group.device.type)
            keys = self._keys(micro, batch.tokens.size(1), step) if settings.dropout else None
            hidden, logits = self.model(batch.tokens, batch.lengths, keys)
            loss = task_loss(logits, batch.targets) / len(indices)
            task_sum += loss.item()
            if settings.lm_coef:
                sequences = len(indices) * batch.tokens.size(1)
                lm_loss = self.model.lm_loss(hidden, batch.tokens, batch.lengths, sequences)
                lm_sum += lm_loss.item()
                loss = loss + settings.lm_coef * lm_loss
            loss.backward()  # type: ignore[no-untyped-call]
        numbers = [task_sum, lm_sum, float(stop)]
        task_all, lm_all, asked = self.group.add_up(self.learned, numbers)
        return task_all, lm_all, asked

    def update(self, rate: float) -> float:
        """Clip the gradients and take a step; returns their norm before that."""
        norm = nn.utils.clip_grad_norm_(self.learned, self.task.settings.max_grad_norm or math.inf)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        return float(norm)

    def _keys(self, indices: Any, sequences: int, step: int) -> list[int]:
        """Keys of dropout's masks: of each sequence, then of each example."""

        def key(*parts: int) -> int:
            return xxhash.xxh3_64_intdigest("/".join(map(str, (self.seed, step, *parts))).encode())

        return [key(index, k) for index in indices for k in range(sequences)] + [key(i) for i in indices]

    def _evaluate(self, now: RunState, epoch: float, logger: MetricsLogger | None) -> RunState:
        """Score the dev set, and keep the weights if they are the best so far."""
        task = self.task
        if task.dev is None:
            return now
        found = predict(self.model, task.dev, task.targets, self.group)
        scores = found.scores(task.dev.gold, task.settings.metrics)
        now = replace(now, val_loss=found.loss)
        select = task.settings.select
        better = select != "none" and (self.best is None or scores[select] > self.best.score)
        if better and self.group.is_first:
            self.best = Best(scores[select], now.step, self._copy())
        if logger:
            row = {"step": now.step, "tokens": now.tokens, "epoch": epoch, "val_loss": now.val_loss}
            text = "  ".join(f"{name} {score:.4f}" for name, score in scores.items())
            logger.evaluation(row | {f"dev/{name}": score for name, score in scores.items()}, f"dev {text}")
        return now

    def _copy(self) -> Weights:
        return {name: value.detach().to("cpu", copy=True) for name, value in self.parameters.items()}

    def _best_until(self, step: int, checkpoint: Checkpoint) -> Best | None:
        """The selection at a checkpoint: the metrics hold its score, the checkpoint its weights."""
        key = f"dev/{self.task.settings.select}"
        scored = [row for row in joined_metrics(self.attempt.run) if key in row and row["step"] <= step]
        if not scored:
            return None
        first = max(scored, key=lambda row: (row[key], -row["step"]))
        weights = checkpoints.best_of(checkpoint, self.task.model) or self._copy()
        return Best(first[key], first["step"], weights)

    def _save(self, now: RunState, logger: MetricsLogger | None) -> None:
        if logger is None:
            return
        logger.sync()
        best = self.best.weights if self.best and self.best.step != now.step else None
        path = checkpoints.save(
            self.attempt.folder, now, self.task.model, self.parameters, self.optimizer, best
        )
        log.info("saved %s", path)
        logger.saved()

    def _finish(self, now: RunState) -> None:
        """Write the selected model and what it predicts, on the first process."""
        task, run = self.task, self.attempt.run
        if self.best:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(self.best.weights[name])
        scores: dict[str, float] = {}
        if task.dev is not None:
            found = predict(self.model, task.dev, task.targets, Group.alone(self.group.device))
            scores = found.scores(task.dev.gold, task.settings.metrics)
            named = task.targets.named(found.values)
            write_predictions(path_of(run, "dev"), task.dev.examples, named, found.probabilities)
        transformation = task.transformation
        made = Record(
            data=task.fingerprint,
            model=task.described()["model"],
            kind=transformation.kind,
            target=task.targets.target,
            labels=[*task.targets.labels],
            specials=transformation.specials,
            length=transformation.length,
            too_long=transformation.too_long,
            bias=task.settings.bias,
            config=task.described(),
            seed=self.seed,
            step=self.best.step if self.best else now.step,
            updates=task.updates,
            train_examples=len(task.train),
            cut=task.train.cut,
            dev_examples=len(task.dev) if task.dev else 0,
            scores=scores,
            seconds=now.seconds,
            resumes=now.resumes,
        )
        tuned.write(run, self.model, task.initial, made)

    def _summarise(self, now: RunState, stopped: bool) -> None:
        summary = {
            "steps": now.step,
            "tokens": now.tokens,
            "loss": now.loss,
            "val_loss": now.val_loss,
            "seconds": now.seconds,
            "resumes": now.resumes,
            "stopped": stopped,
        }
        written = json.dumps(summary, indent=1).encode() + b"\n"
        files.replace(self.attempt.folder / "summary.json", written)
        self.attempt.end(*((RESUME_EXIT, "stopped as asked") if stopped else (0, "finished")))
