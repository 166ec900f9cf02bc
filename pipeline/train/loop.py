"""The training loop, top to bottom: meet, build, resume, then step after step until the end or a signal."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from dataprep.store import files
from pipeline.checkpoint.format import RunState
from pipeline.config import RunConfig, check_layout, save_config
from pipeline.costs.layers import describe, layer_costs, training_flops_per_token
from pipeline.data.loader import EvalFeed, Read, TrainFeed
from pipeline.data.skipped import Ledger
from pipeline.data.sources import HeldOut, Samples, Sources
from pipeline.data.streaming import Stream
from pipeline.data.token_stream import verify
from pipeline.distributed.device import Device, find_device, measured_flops, peak_memory_bytes
from pipeline.distributed.engine import Engine, build_engine
from pipeline.distributed.ranks import Place, gather_int64, gather_json, join
from pipeline.distributed.stage_bounds import stage_bounds
from pipeline.distributed.stop import StopRequest
from pipeline.distributed.watchdog import Watchdog
from pipeline.distributed.zero_state import updates
from pipeline.errors import RunError
from pipeline.monitor.monitor import Monitor, keep_funnel, wandb_id
from pipeline.monitor.step_metrics import Report, over_ranks, stream_hash
from pipeline.train.guards import z_score
from pipeline.train.resume import diverged, restore, save
from pipeline.train.schedule import batch_size, learning_rate

log = logging.getLogger("outbound")


def train(config: RunConfig, sources: Sources, place: Place, stop: StopRequest) -> dict[str, Any]:
    """Train, or go on training, as one of the run's processes; return what summary.json holds.

    A stop request saves a checkpoint after the running step and returns with "stopped": true; the same
    command then continues. Raises RunError for what the user can mend.
    """
    check_layout(config, place.world)
    device = find_device(place.local_rank, config.train.precision, config.train.deterministic)
    with _claimed(config.run.dir) if place.rank == 0 else nullcontext():
        stacks = config.run.dir / f"stacks-rank-{place.rank:05d}.txt"
        with Watchdog(config.guards.stall_s, stacks) as watchdog:
            join(place, device.backend, 2 * config.guards.stall_s)
            watchdog.beat()
            try:
                _agree_on(sources, device)
                if config.data.verify:
                    _verify(sources, place, device, watchdog)
                trainer = _build(config, sources, place, device, watchdog)
                watchdog.beat()
                if config.guards.rehearse:
                    trainer.rehearse()
                then = restore(config, sources, trainer.engine, place)
                watchdog.beat()
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
    sources: Sources
    place: Place
    device: Device
    engine: Engine
    feed: TrainFeed
    held_out: EvalFeed
    watchdog: Watchdog
    peak_flops: float
    """Of all ranks."""

    def rehearse(self) -> None:
        """Take the largest step that will come at a learning rate of 0; `restore` then makes it undone."""
        batch = self.config.batch.sequences
        self.engine.train_batch(self.feed.batches(0, batch), batch, 0.0)
        self.feed.take_hash()
        self.feed.take_wait_ns()
        self.watchdog.beat()

    def run(self, then: RunState | None, stop: StopRequest) -> dict[str, Any]:
        """Go from a checkpoint's state, or from the beginning, to the end or to a stop."""
        first = self.place.rank == 0
        identity = _open_run(self.config, self.sources) if first else ""
        now = self._starting_state(then, gather_json(identity, self.device.type)[0])
        monitor = Monitor(self.config, now.step, now.wandb_id) if first else None
        try:
            if monitor:
                self._announce(monitor, then)
            now = self._advance(now, stop, monitor)
            if monitor and now.samples < self.config.samples:
                monitor.say(f"stopped after step {now.step} as asked; the same command continues")
        finally:
            self.feed.close()
            if monitor:
                monitor.close(now.step)
        summary = self._summary(now)
        if first:
            files.replace(
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
            self.watchdog.beat()
            # One gather says all: does anyone want to stop, which stream was read, who waited for whom.
            reports = [Report(*each) for each in gather_int64(list(self._report(stop)), self.device.type)]
            stopped = any(report.stop for report in reports)
            if self._spiked(loss, now):
                now = self._without(now, batch, loss, monitor)
                continue
            before, now = (
                now,
                replace(
                    now,
                    step=now.step + 1,
                    samples=now.samples + batch,
                    tokens=tokens,
                    stream_hash=(now.stream_hash + stream_hash(reports)) % 2**64,
                ),
            )
            now = self._counted(before, now, loss, norm)
            if monitor:
                seconds = time.perf_counter() - began
                monitor.step(self._row(now, lr, norm, batch, seconds) | over_ranks(reports, seconds))
            ended = now.samples == config.samples
            if ended or now.step % config.train.eval_every == 0:
                now = self._evaluate(now, monitor)
            now = replace(now, seconds=now.seconds + time.perf_counter() - began)
            if ended or stopped or now.step % config.train.checkpoint_every == 0:
                now = self._save(now, monitor)
        return now

    def _report(self, stop: StopRequest) -> Report:
        """What this rank tells the others of the step."""
        return Report(
            int(bool(stop)),
            self.engine.stage,
            self.feed.take_hash(),
            *self.engine.stopwatch.read_ns(),
            self.feed.take_wait_ns(),
            peak_memory_bytes(self.device),
        )

    def _counted(self, before: RunState, now: RunState, loss: float, norm: float) -> RunState:
        """Note a step's loss, or that every rank skipped it because its gradient is not finite.

        Raises RunError when there are too many of those in a row.
        """
        guards = self.config.guards
        if math.isfinite(loss) and math.isfinite(norm):
            recent = [*before.recent, loss][-guards.spike_window :] if guards.spike_z else []
            return replace(now, loss=loss, skipped_in_a_row=0, recent=recent)
        if before.skipped_in_a_row + 1 >= guards.non_finite:
            raise diverged(
                self.config.run.dir,
                f"loss {loss} and grad_norm {norm} at step {now.step}, "
                f"{before.skipped_in_a_row + 1} steps in a row (guards.non_finite)",
            )
        log.warning("step %d skipped: loss %s, grad_norm %s", now.step, loss, norm)
        return replace(now, skipped=before.skipped + 1, skipped_in_a_row=before.skipped_in_a_row + 1)

    def _spiked(self, loss: float, now: RunState) -> bool:
        guards = self.config.guards
        full = len(now.recent) == guards.spike_window
        return bool(guards.spike_z and full and z_score(loss, now.recent) > guards.spike_z)

    def _without(self, now: RunState, batch: int, loss: float, monitor: Monitor | None) -> RunState:
        """Go back to the checkpoint before a spike, and skip all that was read since then.

        DeepSpeed tells the loss after the update, so that the weights cannot be kept.
        """
        told = f"loss {loss:.4f} at step {now.step + 1} is a spike (guards.spike_z)"
        if now.spikes == self.config.guards.spikes:
            raise RunError(f"{told}, and {now.spikes} were skipped before it (guards.spikes): lower the rate")
        then = restore(self.config, self.sources, self.engine, self.place)
        if then is None:
            raise RunError(f"{told}, before the first checkpoint: lower train.checkpoint_every")
        self.feed.ledger = self.feed.ledger.skipping(then.samples, now.samples + batch)
        if monitor:
            monitor.roll_back(then.step)
            monitor.say(f"{told}: back to step {then.step}, without the samples since then")
        return replace(
            then,
            config=now.config,
            resumes=now.resumes,
            processes=now.processes,
            stages=now.stages,
            ledger=[list(each) for each in self.feed.ledger.ranges],
            spikes=now.spikes + 1,
        )

    def _evaluate(self, now: RunState, monitor: Monitor | None) -> RunState:
        val_loss = self.engine.eval_loss(self.held_out.batches(), self.held_out.sequences)
        self.watchdog.beat()
        self._must_be_finite(now.step, {"val_loss": val_loss})
        now = replace(now, val_loss=val_loss)
        if monitor:
            monitor.evaluation({"step": now.step, "tokens": now.tokens, "val_loss": now.val_loss})
        return now

    def _must_be_finite(self, step: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise diverged(self.config.run.dir, f"{name} is {value} at step {step}")

    def _save(self, now: RunState, monitor: Monitor | None) -> RunState:
        now = replace(now, updates=updates(self.engine.optimizer))
        path = save(self.config, self.engine, now, self.place)
        self.watchdog.beat()
        if monitor:
            log.info("saved %s", path)
            monitor.saved()
        return now

    def _starting_state(self, then: RunState | None, identity: str) -> RunState:
        """The checkpoint's state, or that of a run before its first step, plus what this attempt brings."""
        sources = self.sources
        state = then or RunState.begin(sources.pins, sources.fingerprint, sources.tokenizer_fingerprint)
        self.feed.ledger = Ledger(tuple((start, end) for start, end in state.ledger))
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
        log.info(describe(layer_costs(self.config.model), stage_bounds(self.config, self.device.type)))
        start = f"resumed after step {then.step}" if then else "started"
        monitor.say(f"{start}: {self.place.world} processes, {stages} stages, {self.device.type}")

    def _row(self, now: RunState, lr: float, norm: float, batch: int, seconds: float) -> dict[str, Any]:
        """What is recorded of a step."""
        speed = batch * self.config.model.n_ctx / seconds
        row = {
            "step": now.step,
            "tokens": now.tokens,
            **({} if now.skipped_in_a_row else {"loss": now.loss}),
            "lr": lr,
            **({} if now.skipped_in_a_row else {"grad_norm": norm}),
            "skipped": now.skipped,
            "spikes": now.spikes,
            "batch": batch,
            "tokens_per_s": speed,
            "stream_hash": f"{now.stream_hash:016x}",
        }
        if len(self.sources.by_name) > 1:
            counts = self.sources.mixture.counts(self.feed.ledger.place(now.samples))
            row |= {
                f"share/{name}": n / sum(counts) for name, n in zip(self.sources.by_name, counts, strict=True)
            }
        row["mfu"] = speed * training_flops_per_token(self.config.model) / self.peak_flops
        return row

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


def _build(config: RunConfig, sources: Sources, place: Place, device: Device, watchdog: Watchdog) -> _Trainer:
    """Map the data and build the engine over the processes that have met."""
    engine = build_engine(config, device)
    data, n_ctx = config.data, config.model.n_ctx
    samples: Read | Stream
    if sources.stream:
        samples = Stream.of(sources.stream, sources.generations[0].dtype, n_ctx, engine.dp_size)
    else:
        samples = Samples.of(sources, n_ctx, config.run.seed, data.order_block).rows
    chosen = HeldOut.of(sources, n_ctx, config.train.eval_sequences)
    spread = config.batch.micro, engine.dp_rank, engine.dp_size
    feed, held_out = TrainFeed(samples, *spread, device=device.type), EvalFeed(chosen, *spread)
    peak = device.peak_flops or measured_flops(device)
    return _Trainer(config, sources, place, device, engine, feed, held_out, watchdog, peak * place.world)


def _agree_on(sources: Sources, device: Device) -> None:
    """Raise RunError on every rank when one of them has found other tokens than the rest."""
    found = gather_json([sources.pins, sources.fingerprint], device.type)
    if any(other != found[0] for other in found):
        raise RunError(
            "the processes have found different generations "
            f"({'; '.join(_told(pins) for pins, _ in found)}): one was published as they started; run again"
        )


def _verify(sources: Sources, place: Place, device: Device, watchdog: Watchdog) -> None:
    """Raise RunError on every rank when one of them finds a shard altered; each hashes its share."""
    found = ""
    for shard in sources.mapped[place.rank :: place.world]:
        try:
            verify(shard)
        except RunError as error:
            found = str(error)
        watchdog.beat()
    if told := [each for each in gather_json(found, device.type) if each]:
        raise RunError(told[0])


def _told(pins: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}".strip() for name, number in pins.items())


def _open_run(config: RunConfig, sources: Sources) -> str:
    """Write what the run directory holds from the start; return the W&B id."""
    run = config.run.dir
    (run / "summary.json").unlink(missing_ok=True)
    save_config(config, run / "config.yaml")
    if sources.tokenizer.is_dir():  # a copy, so that the run can speak by itself
        for path in sources.tokenizer.glob("[!.]*"):
            files.write_once(run / "tokenizer" / path.name, path.read_bytes())
    keep_funnel(run, sources)
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
