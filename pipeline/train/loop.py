"""The training loop, top to bottom: meet, build, resume, then step after step until the end or a signal."""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch.distributed as dist

from dataprep.store import files
from pipeline.checkpoint.attempts import Attempt, Origin
from pipeline.checkpoint.run_state import RunState
from pipeline.config import RunConfig, require_layout
from pipeline.costs.layers import (
    describe,
    layer_costs,
    mfu_flops_per_token,
    parameters,
    training_flops_per_token,
)
from pipeline.data.loader import EvalLoader, ReadSamples, TrainLoader
from pipeline.data.skipped import SkippedRanges
from pipeline.data.sources import HeldOut, Samples, Sources
from pipeline.data.streaming import StreamedSamples
from pipeline.data.token_stream import verify
from pipeline.distributed.device import Device, find_device, measured_flops, peak_memory_bytes
from pipeline.distributed.engine import Engine, build_engine
from pipeline.distributed.ranks import Rank, gather_int64, gather_json, init_distributed
from pipeline.distributed.stage_bounds import stage_bounds
from pipeline.distributed.stop import StopRequest
from pipeline.distributed.watchdog import Watchdog
from pipeline.distributed.zero_state import updates
from pipeline.errors import RunError
from pipeline.monitor.metrics_logger import MetricsLogger
from pipeline.monitor.step_metrics import (
    RankReport,
    counted,
    reduce_over_ranks,
    reported_loss,
    step_row,
    stream_hash,
)
from pipeline.train import guards
from pipeline.train.nodes.check import check_nodes
from pipeline.train.resume import not_finite, resume, roll_back, save
from pipeline.train.run_directory import bytes_of_earlier_checkpoints, claim, prepare
from pipeline.train.run_log import log_to
from pipeline.train.schedule import batch_of, lr_of
from slurm.codes import RESUME_EXIT

log = logging.getLogger("outbound")


def train(config: RunConfig, sources: Sources, rank: Rank, stop: StopRequest) -> dict[str, Any]:
    """Train, or resume, as one of the run's processes; return what summary.json holds.

    A stop request saves a checkpoint after the running step and returns with "stopped": true; the same
    command then continues. Raises RunError for what the user can mend.
    """
    require_layout(config, rank.world_size)
    device = find_device(rank.local_rank, config.train.precision, config.train.deterministic)
    run = config.run.dir
    with (
        claim(run, rank.world_size) if rank.is_first else nullcontext() as claimed,
        Watchdog(config.guards.stall_timeout_s, run / _stacks(rank)) as watchdog,
    ):
        if claimed:
            _move_in(claimed, rank, watchdog)
        init_distributed(rank, device.backend, 2 * config.guards.stall_timeout_s)
        watchdog.beat()
        try:
            number = gather_json(claimed and claimed.number, device.type)[0]
            attempt = claimed or Attempt(run, number)
            _move_in(attempt, rank, watchdog)
            _require_same_data(sources, device)
            check_nodes(attempt, config, parameters(config.model), rank, device)
            watchdog.beat()
            if config.data.verify:
                _verify(sources, rank, device, watchdog)
            trainer = _build(attempt, config, sources, rank, device, watchdog)
            watchdog.beat()
            if config.guards.dry_run_batch:
                trainer.dry_run()
            then, origin = resume(attempt, config, sources, trainer.engine, rank)
            watchdog.beat()
            return trainer.run(then, origin, stop)
        finally:
            dist.destroy_process_group()


def _move_in(attempt: Attempt, rank: Rank, watchdog: Watchdog) -> None:
    """Send the log and the stacks of this process to the attempt's folder from here on."""
    log_to(attempt.folder / "log.txt", rank.global_rank)
    watchdog.stacks = attempt.folder / _stacks(rank)


def _stacks(rank: Rank) -> str:
    return f"stacks-rank-{rank.global_rank:05d}.txt"


@dataclass(frozen=True, kw_only=True)
class _Trainer:
    """One process's part of a run."""

    attempt: Attempt
    config: RunConfig
    sources: Sources
    rank: Rank
    device: Device
    engine: Engine
    loader: TrainLoader
    held_out: EvalLoader
    watchdog: Watchdog
    peak_flops: float
    """Operations a second of all ranks."""

    def dry_run(self) -> None:
        """Take the run's largest step at a learning rate of 0; `resume` then undoes it."""
        batch = self.config.batch.global_batch_size
        self.engine.train_batch(self.loader.batches(0, batch), batch, 0.0)
        self.loader.take_hash()
        self.loader.take_counted()
        self.loader.take_wait_ns()
        self.watchdog.beat()

    def run(self, then: RunState | None, origin: Origin, stop: StopRequest) -> dict[str, Any]:
        """Go from a checkpoint's state, or from the beginning, to the end or to a stop."""
        first = self.rank.is_first
        identity = prepare(self.attempt, self.config, self.sources) if first else ""
        now = self._starting_state(then, gather_json(identity, self.device.type)[0])
        logger = self._logger(now.wandb_id) if first else None
        try:
            if logger:
                self.attempt.begin(origin)  # not earlier: W&B may have refused this start
                logger.begin()
                self._report_start(logger, then)
            now = self._advance(now, stop, logger)
            if logger and now.samples < self.config.samples:
                logger.report(f"stopped after step {now.step} as asked; the same command continues")
        finally:
            self.loader.close()
            if logger:
                logger.close(now.step)
        summary = self._summary(now)
        if first:
            written = json.dumps(summary, indent=1).encode() + b"\n"
            files.replace(self.attempt.folder / "summary.json", written)
            self.attempt.end(*((RESUME_EXIT, "stopped as asked") if summary["stopped"] else (0, "finished")))
        if logger:
            logger.send_rest(summary["stopped"])
        dist.barrier()  # srun ends the others when one leaves: not while the first rank still writes
        return summary

    def _logger(self, wandb_id: str) -> MetricsLogger:
        config = self.config
        return MetricsLogger(
            self.attempt,
            wandb_id,
            wandb=config.wandb,
            config=config.model_dump(mode="json"),
            tokens=config.samples * config.model.n_ctx,
            prompts=config.train.prompts,
        )

    def _advance(self, now: RunState, stop: StopRequest, logger: MetricsLogger | None) -> RunState:
        """Step after step."""
        config = self.config
        stopped = False
        while now.samples < config.samples and not stopped:
            began = time.perf_counter()
            batch = batch_of(config, now.samples)
            tokens = (now.samples + batch) * config.model.n_ctx
            lr = lr_of(config, tokens)
            loss = self.engine.train_batch(self.loader.batches(now.samples, batch), batch, lr)
            norm = self.engine.grad_norm()
            self.watchdog.beat()
            # One gather for all: stop requests, hashes of the data read, times of computing and waiting.
            reports = [RankReport(*row) for row in gather_int64(list(self._measure(stop)), self.device.type)]
            stopped = any(report.stop for report in reports)
            loss = reported_loss(loss, batch * config.model.n_ctx, counted(reports))
            if guards.is_spike(loss, now, config.guards):
                now = self._undo(now, batch, loss, logger)
                continue
            now = replace(
                now,
                step=now.step + 1,
                samples=now.samples + batch,
                tokens=tokens,
                stream_hash=(now.stream_hash + stream_hash(reports)) % 2**64,
            )
            self.attempt.step = now.step
            now = self._record(now, loss, norm)
            if logger:
                seconds = time.perf_counter() - began
                row = self._row(now, lr, norm, batch, seconds)
                logger.step(row | reduce_over_ranks(reports, seconds))
            ended = now.samples == config.samples
            if ended or now.step % config.train.eval_every_steps == 0:
                now = self._evaluate(now, logger)
            now = replace(now, seconds=now.seconds + time.perf_counter() - began)
            if ended or stopped or now.step % config.train.checkpoint_every_steps == 0:
                now = self._save(now, logger)
        return now

    def _measure(self, stop: StopRequest) -> RankReport:
        """What this rank measured of the step."""
        compute_ns, pipeline_ns = self.engine.timer.read_ns()
        return RankReport(
            stop=int(bool(stop)),
            stage=self.engine.stage,
            stream_hash=self.loader.take_hash(),
            counted=self.loader.take_counted(),
            compute_ns=compute_ns,
            pipeline_ns=pipeline_ns,
            data_wait_ns=self.loader.take_wait_ns(),
            memory_bytes=peak_memory_bytes(self.device),
        )

    def _record(self, now: RunState, loss: float, norm: float) -> RunState:
        """Note the step's loss, or that it was skipped; raises RunError after too many of those in a row."""
        now = guards.record_step(now, loss, norm, self.config.guards)
        numbers = f"loss {loss} and grad_norm {norm} at step {now.step}"
        if guards.diverged(now, self.config.guards):
            row = f"{now.skipped_in_a_row} steps in a row (guards.max_non_finite_steps)"
            raise not_finite(self.config.run.dir, f"{numbers}, {row}")
        if now.skipped_in_a_row:
            log.warning("step skipped: %s", numbers)
        return now

    def _undo(self, now: RunState, batch: int, loss: float, logger: MetricsLogger | None) -> RunState:
        """Go back to the checkpoint before a spike, and skip all that was read since then.

        DeepSpeed returns the loss after the update, so the weights cannot be kept.
        """
        spike = f"loss {loss:.4f} at step {now.step + 1} is a spike (guards.spike_zscore)"
        if now.spikes == self.config.guards.max_spikes:
            raise RunError(
                f"{spike}, and {now.spikes} were skipped before it (guards.max_spikes): lower the rate"
            )
        then = roll_back(self.attempt, self.config, self.sources, self.engine, self.rank)
        if then is None:
            raise RunError(f"{spike}, before the first checkpoint: lower train.checkpoint_every_steps")
        self.attempt.step = then.step
        self.loader.skipped_ranges = self.loader.skipped_ranges.skipping(then.samples, now.samples + batch)
        if logger:
            logger.roll_back(now.step + 1, then.step)
            logger.report(f"{spike}: back to step {then.step}, without the samples since then")
        return guards.roll_back(then, now, self.loader.skipped_ranges)

    def _evaluate(self, now: RunState, logger: MetricsLogger | None) -> RunState:
        chosen = self.held_out.held_out
        if not chosen.counted:
            if logger:
                logger.report(f"step {now.step}: no held-out loss, as all of the held-out set was forgotten")
            return now
        loss = self.engine.eval_loss(self.held_out.batches(), self.held_out.sequences)
        val_loss = reported_loss(loss, len(chosen) * chosen.n_ctx, chosen.counted)
        self.watchdog.beat()
        if not math.isfinite(val_loss):
            raise not_finite(self.config.run.dir, f"val_loss is {val_loss} at step {now.step}")
        now = replace(now, val_loss=val_loss)
        if logger:
            row = {"step": now.step, "tokens": now.tokens, "val_loss": now.val_loss}
            logger.evaluation(
                row | {"val_counted": chosen.counted, "val_set": chosen.fingerprint},
                f"held-out loss {val_loss:.4f} over {chosen.counted:,} positions",
            )
        return now

    def _save(self, now: RunState, logger: MetricsLogger | None) -> RunState:
        now = replace(now, updates=updates(self.engine.optimizer))
        if logger:
            logger.sync()
        path = save(self.attempt.folder, self.config, self.engine, now, self.rank)
        self.watchdog.beat()
        if logger:
            log.info("saved %s", path)
            logger.saved()
        return now

    def _starting_state(self, then: RunState | None, identity: str) -> RunState:
        """The checkpoint's state, or that of a run before its first step, plus what this attempt brings."""
        sources = self.sources
        state = then or RunState(
            generations=sources.pins,
            sources_fingerprint=sources.fingerprint,
            tokenizer_fingerprint=sources.tokenizer_fingerprint,
        )
        self.loader.skipped_ranges = SkippedRanges(tuple((start, end) for start, end in state.skipped_ranges))
        goes_on = then is not None and then.samples < self.config.samples
        return replace(
            state,
            attempt=self.attempt.number,
            config=self.config.model_dump(mode="json"),
            wandb_id=identity,
            resumes=[*state.resumes, state.step] if goes_on else state.resumes,
            processes=self.rank.world_size,
            stages=self.config.parallel.pipeline_stages,
        )

    def _report_start(self, logger: MetricsLogger, then: RunState | None) -> None:
        stages = self.config.parallel.pipeline_stages
        log.info(describe(layer_costs(self.config.model), stage_bounds(self.config, self.device.type)))
        start = f"resumed after step {then.step}" if then else "started"
        logger.report(f"{start}: {self.rank.world_size} processes, {stages} stages, {self.device.type}")
        if taken := bytes_of_earlier_checkpoints(self.attempt):
            logger.report(
                f"checkpoints of earlier attempts take {taken / 1e9:.1f} GB and stay as a reserve: "
                f"rm -r {self.config.run.dir}/attempts/NNNN/checkpoints gives back the room of attempt NNNN"
            )

    def _row(self, now: RunState, lr: float, norm: float, batch: int, seconds: float) -> dict[str, Any]:
        """What is recorded of a step."""
        speed = batch * self.config.model.n_ctx / seconds
        counts: dict[str, int] = {}
        if len(self.sources.by_name) > 1:
            read = self.sources.mixture.counts(self.loader.skipped_ranges.position(now.samples))
            counts = dict(zip(self.sources.by_name, read, strict=True))
        return step_row(
            now,
            lr=lr,
            grad_norm=norm,
            batch=batch,
            tokens_per_s=speed,
            source_counts=counts,
            mfu=speed * mfu_flops_per_token(self.config.model) / self.peak_flops,
            mfu_causal=speed * training_flops_per_token(self.config.model) / self.peak_flops,
        )

    def _summary(self, now: RunState) -> dict[str, Any]:
        return {
            "steps": now.step,
            "tokens": now.tokens,
            "loss": now.loss,
            "val_loss": now.val_loss,
            "unigram_entropy_nats": self.sources.unigram_entropy_nats,
            "seconds": now.seconds,
            "resumes": now.resumes,
            "skipped": now.skipped,
            "spikes": now.spikes,
            "stopped": now.samples < self.config.samples,
        }


def _build(
    attempt: Attempt, config: RunConfig, sources: Sources, rank: Rank, device: Device, watchdog: Watchdog
) -> _Trainer:
    """Map the data and build the engine over the processes that have met."""
    engine = build_engine(config, device)
    data, n_ctx = config.data, config.model.n_ctx
    samples: ReadSamples | StreamedSamples
    if sources.stream:
        samples = StreamedSamples.of(sources.stream, sources.generations[0], n_ctx, engine.dp_size)
    else:
        samples = Samples.of(sources, n_ctx, config.run.seed, data.order_block_sequences).rows
    chosen = HeldOut.of(sources, n_ctx, config.train.eval_sequences)
    micro, dp_rank, dp_size = config.batch.micro_batch_size, engine.dp_rank, engine.dp_size
    loader = TrainLoader(
        samples, eot=sources.eot, micro=micro, dp_rank=dp_rank, dp_size=dp_size, device=device.type
    )
    held_out = EvalLoader(held_out=chosen, micro=micro, dp_rank=dp_rank, dp_size=dp_size)
    peak = device.peak_flops or measured_flops(device)
    return _Trainer(
        attempt=attempt,
        config=config,
        sources=sources,
        rank=rank,
        device=device,
        engine=engine,
        loader=loader,
        held_out=held_out,
        watchdog=watchdog,
        peak_flops=peak * rank.world_size,
    )


def _require_same_data(sources: Sources, device: Device) -> None:
    """Raise RunError on every rank when one of them has found other tokens than the rest."""
    found = gather_json([sources.pins, sources.fingerprint], device.type)
    if any(other != found[0] for other in found):
        different = "; ".join(_describe(pins) for pins, _ in found)
        raise RunError(
            f"the processes have found different generations ({different}): "
            "one was published as they started; run again"
        )


def _verify(sources: Sources, rank: Rank, device: Device, watchdog: Watchdog) -> None:
    """Raise RunError on every rank when one of them finds a shard altered; each hashes its share."""
    found = ""
    for generation, shard in sources.mapped[rank.global_rank :: rank.world_size]:
        try:
            verify(generation, shard)
        except RunError as error:
            found = str(error)
        watchdog.beat()
    if messages := [message for message in gather_json(found, device.type) if message]:
        raise RunError(messages[0])


def _describe(pins: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}".strip() for name, number in pins.items())
