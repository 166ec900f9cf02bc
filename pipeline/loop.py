"""The training loop, top to bottom: meet, build, resume, then step after step until the end or a signal."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

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
from pipeline.resume import check_same_run, restore, save
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
    join(place, device.backend)
    try:
        return _train(config, generation, place, stop, device)
    finally:
        dist.destroy_process_group()


def _train(
    config: RunConfig, generation: Generation, place: Place, stop: StopRequest, device: Device
) -> dict[str, Any]:
    run, n_ctx = config.run.dir, config.model.n_ctx
    stream = TokenStream(generation, "train", config.data.verify)
    held_out = TokenStream(generation, "val", config.data.verify)
    engine = build_engine(config, device)
    shape = {
        "n_ctx": n_ctx,
        "micro": config.batch.micro,
        "dp_rank": engine.dp_rank,
        "dp_size": engine.dp_size,
    }
    order = Order(
        generation.splits["train"].sequences(n_ctx),
        config.data.order_block,
        config.run.seed,
        generation.number,
    )
    feed = TrainFeed(stream, order, **shape)
    evaluation = EvalFeed(held_out, config.train.eval_sequences, **shape)

    then = restore(config, engine, place)
    if then is not None:
        check_same_run(config, then, generation)
    identity = _open_run(config, generation) if place.rank == 0 else ""
    identity = gather_json(identity, device.type)[0]
    now = replace(then or _beginning(generation), config=config.model_dump(mode="json"), wandb_id=identity)
    now = replace(now, processes=place.world, stages=config.parallel.pipeline)
    resumes = _record_resume(run, then) if place.rank == 0 else []
    monitor = Monitor(config, now.step, identity) if place.rank == 0 else None
    if monitor:
        costs = layer_costs(config.model)
        log.info(describe(costs, partition(costs, config.parallel.pipeline)))
        start = f"resumed after step {then.step}" if then else "started"
        monitor.say(f"{start}: {place.world} processes, {config.parallel.pipeline} stages, {device.type}")

    stopped = False
    while now.samples < config.samples and not stopped:
        began = time.perf_counter()
        batch = min(_batch(config, now.samples), config.samples - now.samples)
        tokens = (now.samples + batch) * n_ctx
        lr = _lr(config, tokens)
        loss = engine.train_batch(feed.batches(now.samples, batch), batch, lr)
        if not math.isfinite(loss):
            raise RunError(
                f"loss is {loss} at step {now.step + 1}; the checkpoint before it stands: "
                "lower optimizer.lr or lengthen schedule.warmup_tokens, and run again"
            )
        # One all-reduce says both: does anyone want to stop, and which stream was read.
        read = feed.take_hash() if engine.stage == 0 else 0
        wishes, read = sum_int64([int(bool(stop)), read], device.type)
        stopped = wishes > 0
        seconds = time.perf_counter() - began
        now = replace(
            now,
            step=now.step + 1,
            samples=now.samples + batch,
            tokens=tokens,
            stream_hash=(now.stream_hash + read) % 2**64,
            loss=loss,
        )
        if monitor:
            monitor.step(_row(config, now, lr, engine.grad_norm(), batch, seconds, place.world, device))
        ended = now.samples == config.samples
        if ended or now.step % config.train.eval_every == 0:
            now = replace(now, val_loss=engine.eval_loss(evaluation.batches(), evaluation.sequences))
            if monitor:
                monitor.evaluation({"step": now.step, "tokens": now.tokens, "val_loss": now.val_loss})
        now = replace(now, seconds=now.seconds + time.perf_counter() - began)
        if ended or stopped or now.step % config.train.checkpoint_every == 0:
            now = _save(config, engine, now, place)
    summary = _summary(now, generation, resumes, stopped=now.samples < config.samples)
    if monitor:
        if summary["stopped"]:
            monitor.say(f"stopped after step {now.step} as asked; the same command continues")
        monitor.close()
        (run / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def _beginning(generation: Generation) -> RunState:
    """The state of a run before its first step."""
    return RunState(
        step=0,
        samples=0,
        tokens=0,
        updates=0,
        stream_hash=0,
        seconds=0.0,
        loss=math.nan,
        val_loss=None,
        config={},
        generation=generation.number,
        build=generation.build,
        tokenizer_fingerprint=generation.tokenizer_fingerprint,
        wandb_id="",
        processes=0,
        stages=0,
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


def _record_resume(run: Path, then: RunState | None) -> list[int]:
    """Note a resume; return the steps after which this run was resumed so far."""
    path = run / "resumes.json"
    resumes: list[int] = json.loads(path.read_text()) if path.exists() else []
    if then is not None:
        resumes.append(then.step)
        path.write_text(json.dumps(resumes) + "\n")
    return resumes


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


def _row(
    config: RunConfig,
    now: RunState,
    lr: float,
    grad_norm: float,
    batch: int,
    seconds: float,
    processes: int,
    device: Device,
) -> dict[str, Any]:
    speed = batch * config.model.n_ctx / seconds
    row = {
        "step": now.step,
        "tokens": now.tokens,
        "loss": now.loss,
        "lr": lr,
        "grad_norm": grad_norm,
        "batch": batch,
        "tokens_per_s": speed,
        "stream_hash": f"{now.stream_hash:016x}",
    }
    if device.peak_flops:
        row["mfu"] = speed * training_flops_per_token(config.model) / (device.peak_flops * processes)
    return row


def _save(config: RunConfig, engine: Engine, now: RunState, place: Place) -> RunState:
    now = replace(now, updates=updates(engine.optimizer))
    path = save(config, engine, now, place)
    if place.rank == 0:
        log.info("saved %s", path)
    return now


def _summary(now: RunState, generation: Generation, resumes: list[int], stopped: bool) -> dict[str, Any]:
    return {
        "steps": now.step,
        "tokens": now.tokens,
        "loss": now.loss,
        "val_loss": now.val_loss,
        "unigram_entropy_nats": generation.splits["train"].unigram_entropy_nats,
        "seconds": now.seconds,
        "resumes": resumes,
        "stopped": stopped,
    }
