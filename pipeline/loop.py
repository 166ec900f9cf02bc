"""The training loop, top to bottom: meet, build, resume, then step after step until the end or a signal."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from dataprep import store
from pipeline.batches import EvalFeed, TrainFeed
from pipeline.checkpoint import RunState
from pipeline.config import RunConfig, check_layout, save_config
from pipeline.device import Device, find_device
from pipeline.engine import Engine, build_engine
from pipeline.errors import RunError
from pipeline.monitor import Monitor, wandb_id
from pipeline.order import Order
from pipeline.partition import describe, layer_costs, partition, training_flops_per_token
from pipeline.ranks import Place, gather_json, join, sum_int64
from pipeline.resume import diverged, restore, save
from pipeline.schedule import batch_size, learning_rate
from pipeline.state import updates
from pipeline.stop import StopRequest
from pipeline.tokens import Generation, TokenStream

log = logging.getLogger("outbound")


def train(config: RunConfig, generation: Generation, place: Place, stop: StopRequest) -> dict[str, Any]:
    """Train, or go on training, as one of the run's processes; return what summary.json holds.

    A stop request saves a checkpoint after the running step and returns with "stopped": true; the same
    command then continues. Raises RunError for what the user can mend.
    """
    check_layout(config, place.world)
    device = find_device(place.local_rank)
    with _claimed(config.run.dir) if place.rank == 0 else nullcontext():
        join(place, device.backend)
        try:
            _agree_on(generation, device)
            trainer = _build(config, generation, place, device)
            then = restore(config, generation, trainer.engine, place)
            return trainer.run(then, stop)
        finally:
            dist.destroy_process_group()


@contextmanager
def _claimed(run: Path) -> Iterator[None]:
    """Have a run directory to oneself; raises RunError when another training has it."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise RunError(
                f"{run}: another process trains here; stop it, or choose another run.dir"
            ) from None
        yield


@dataclass(frozen=True)
class _Trainer:
    """One process's part of a run."""

    config: RunConfig
    generation: Generation
    place: Place
    device: Device
    engine: Engine
    feed: TrainFeed
    held_out: EvalFeed

    def run(self, then: RunState | None, stop: StopRequest) -> dict[str, Any]:
        """Go from a checkpoint's state, or from the beginning, to the end or to a stop."""
        first = self.place.rank == 0
        identity = _open_run(self.config, self.generation) if first else ""
        now = self._starting_state(then, gather_json(identity, self.device.type)[0])
        monitor = Monitor(self.config, now.step, now.wandb_id) if first else None
        try:
            if monitor:
                self._announce(monitor, then)
            now = self._advance(now, stop, monitor)
            if monitor and now.samples < self.config.samples:
                monitor.say(f"stopped after step {now.step} as asked; the same command continues")
        finally:
            if monitor:
                monitor.close()
        summary = self._summary(now)
        if first:
            store.replace(
                self.config.run.dir / "summary.json", json.dumps(summary, indent=1).encode() + b"\n"
            )
        dist.barrier()  # srun ends the others when one leaves: not while the first rank still writes
        return summary

    def _advance(self, now: RunState, stop: StopRequest, monitor: Monitor | None) -> RunState:
        """Step after step."""
        config = self.config
        stopped = False
        while now.samples < config.samples and not stopped:
            began = time.perf_counter()
            batch = min(_batch(config, now.samples), config.samples - now.samples)
            tokens = (now.samples + batch) * config.model.n_ctx
            lr = _lr(config, tokens)
            loss = self.engine.train_batch(self.feed.batches(now.samples, batch), batch, lr)
            norm = self.engine.grad_norm()
            self._must_be_finite(now.step + 1, {"loss": loss, "grad_norm": norm})
            # One all-reduce says both: does anyone want to stop, and which stream was read.
            read = self.feed.take_hash() if self.engine.stage == 0 else 0
            wishes, read = sum_int64([int(bool(stop)), read], self.device.type)
            stopped = wishes > 0
            now = replace(
                now,
                step=now.step + 1,
                samples=now.samples + batch,
                tokens=tokens,
                stream_hash=(now.stream_hash + read) % 2**64,
                loss=loss,
            )
            if monitor:
                monitor.step(self._row(now, lr, norm, batch, time.perf_counter() - began))
            ended = now.samples == config.samples
            if ended or now.step % config.train.eval_every == 0:
                now = self._evaluate(now, monitor)
            now = replace(now, seconds=now.seconds + time.perf_counter() - began)
            if ended or stopped or now.step % config.train.checkpoint_every == 0:
                now = self._save(now)
        return now

    def _evaluate(self, now: RunState, monitor: Monitor | None) -> RunState:
        val_loss = self.engine.eval_loss(self.held_out.batches(), self.held_out.sequences)
        self._must_be_finite(now.step, {"val_loss": val_loss})
        now = replace(now, val_loss=val_loss)
        if monitor:
            monitor.evaluation({"step": now.step, "tokens": now.tokens, "val_loss": now.val_loss})
        return now

    def _must_be_finite(self, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise diverged(self.config.run.dir, f"{name} is {value} at step {step}")

    def _save(self, now: RunState) -> RunState:
        now = replace(now, updates=updates(self.engine.optimizer))
        path = save(self.config, self.engine, now, self.place)
        if self.place.rank == 0:
            log.info("saved %s", path)
        return now

    def _starting_state(self, then: RunState | None, identity: str) -> RunState:
        """The checkpoint's state, or that of a run before its first step, plus what this attempt brings."""
        state = then or RunState(
            step=0,
            samples=0,
            tokens=0,
            updates=0,
            stream_hash=0,
            seconds=0.0,
            loss=math.nan,
            val_loss=None,
            config={},
            generation=self.generation.number,
            generation_fingerprint=self.generation.fingerprint,
            tokenizer_fingerprint=self.generation.tokenizer_fingerprint,
            wandb_id="",
            resumes=[],
            processes=0,
            stages=0,
        )
        goes_on = then is not None and then.samples < self.config.samples
        return replace(
            state,
            config=self.config.model_dump(mode="json"),
            wandb_id=identity,
            resumes=[*state.resumes, state.step] if goes_on else state.resumes,
            processes=self.place.world,
            stages=self.config.parallel.pipeline,
        )

    def _announce(self, monitor: Monitor, then: RunState | None) -> None:
        stages = self.config.parallel.pipeline
        costs = layer_costs(self.config.model)
        log.info(describe(costs, partition(costs, stages)))
        start = f"resumed after step {then.step}" if then else "started"
        monitor.say(f"{start}: {self.place.world} processes, {stages} stages, {self.device.type}")

    def _row(self, now: RunState, lr: float, norm: float, batch: int, seconds: float) -> dict[str, Any]:
        """What is recorded of a step."""
        speed = batch * self.config.model.n_ctx / seconds
        row = {
            "step": now.step,
            "tokens": now.tokens,
            "loss": now.loss,
            "lr": lr,
            "grad_norm": norm,
            "batch": batch,
            "tokens_per_s": speed,
            "stream_hash": f"{now.stream_hash:016x}",
        }
        if self.device.peak_flops:
            peak = self.device.peak_flops * self.place.world
            row["mfu"] = speed * training_flops_per_token(self.config.model) / peak
        return row

    def _summary(self, now: RunState) -> dict[str, Any]:
        return {
            "steps": now.step,
            "tokens": now.tokens,
            "loss": now.loss,
            "val_loss": now.val_loss,
            "unigram_entropy_nats": self.generation.splits["train"].unigram_entropy_nats,
            "seconds": now.seconds,
            "resumes": now.resumes,
            "stopped": now.samples < self.config.samples,
        }


def _build(config: RunConfig, generation: Generation, place: Place, device: Device) -> _Trainer:
    """Map the data and build the engine over the processes that have met."""
    train_stream = TokenStream(generation, "train", config.data.verify)
    val_stream = TokenStream(generation, "val", config.data.verify)
    engine = build_engine(config, device)
    n_ctx = config.model.n_ctx
    order = Order(
        sequences=generation.splits["train"].sequences(n_ctx),
        block=config.data.order_block,
        seed=config.run.seed,
        generation=generation.number,
    )
    spread = {"micro": config.batch.micro, "dp_rank": engine.dp_rank, "dp_size": engine.dp_size}
    feed = TrainFeed(train_stream, order, n_ctx, **spread)
    held_out = EvalFeed(val_stream, config.train.eval_sequences, n_ctx, **spread)
    return _Trainer(config, generation, place, device, engine, feed, held_out)


def _agree_on(generation: Generation, device: Device) -> None:
    """Raise RunError on every rank when one of them has found other tokens than the rest."""
    found = gather_json([generation.number, generation.fingerprint], device.type)
    if any(other != found[0] for other in found):
        raise RunError(
            f"{generation.directory}: the processes have found different generations "
            f"({', '.join(str(number) for number, _ in found)}): one was published as they started; run again"
        )


def _open_run(config: RunConfig, generation: Generation) -> str:
    """Write what the run directory holds from the start; return the W&B id."""
    run = config.run.dir
    (run / "summary.json").unlink(missing_ok=True)
    save_config(config, run / "config.yaml")
    tokenizer = generation.directory / "tokenizer"
    if tokenizer.is_dir() and not (run / "tokenizer").exists():
        shutil.copytree(tokenizer, run / "tokenizer")  # so that the run can speak by itself
    return wandb_id(run)


def _batch(config: RunConfig, consumed: int) -> int:
    batch = config.batch
    return batch_size(
        consumed,
        full=batch.sequences,
        quantum=batch.quantum,
        ramp_start=batch.ramp_start or batch.sequences,
        ramp_samples=batch.ramp_tokens // config.model.n_ctx,
    )


def _lr(config: RunConfig, tokens: int) -> float:
    return learning_rate(
        tokens,
        peak=config.optimizer.lr,
        warmup_tokens=config.schedule.warmup_tokens,
        decay_tokens=config.schedule.decay_tokens or config.train.tokens,
        floor=config.schedule.floor,
    )
