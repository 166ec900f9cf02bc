"""Saving and restoring by all ranks together: each writes its share, each reads what it holds.

All that an attempt saves goes to its own folder. It begins with a checkpoint there, linked from the attempt
that it resumes from, so that an older one that lives on cannot prune it away.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import xxhash

from model.names import padded, unpadded
from pipeline.checkpoint.attempts import Attempt, Origin
from pipeline.checkpoint.format import (
    Checkpoint,
    CheckpointWriter,
    first_whole,
    newest,
    saved_in,
    set_aside,
)
from pipeline.checkpoint.run_state import RunState
from pipeline.checkpoint.safetensors_writer import SafetensorsWriter, Shapes
from pipeline.checkpoint.weights import Weights, open_weights
from pipeline.config import RunConfig
from pipeline.data.sources import Sources
from pipeline.distributed import zero_state
from pipeline.distributed.engine import Engine
from pipeline.distributed.ranks import Rank, gather_json
from pipeline.errors import RunError
from pipeline.train.resumable import config_changes

log = logging.getLogger("outbound")


def save(folder: Path, config: RunConfig, engine: Engine, now: RunState, rank: Rank) -> Path:
    """Write a checkpoint to an attempt's folder; every rank must call it. Returns its path.

    Raises RunError on every rank, and publishes nothing, when a tensor is not finite.
    """
    writer = CheckpointWriter(folder, now.step)
    if rank.is_first:
        writer.prepare()
    dist.barrier()
    try:
        shares = _write_share(writer.share(rank.global_rank), config, engine, rank)
        if poisoned := next((s["not_finite"] for s in shares if s["not_finite"]), None):
            raise not_finite(config.run.dir, f"{poisoned} is not finite after step {now.step}")
    except BaseException:
        if rank.is_first:
            writer.abandon()
        raise
    if rank.is_first:
        writer.publish(now, shares, config.train.keep_last, config.train.keep_every_steps)
    dist.barrier()
    return writer.path


def _write_share(path: Path, config: RunConfig, engine: Engine, rank: Rank) -> list[dict[str, Any]]:
    """Write this rank's tensors; return what every rank has written."""
    # A stage's parameters are dealt out over its data-parallel ranks, so that all disks and links work.
    mine = engine.owned[engine.dp_rank :: engine.dp_size]
    shapes: Shapes = {}
    for name in mine:
        whole = torch.empty(zero_state.shape(engine.parameters[name]), device="meta")
        shape = tuple(unpadded(name, whole, config.model).shape)
        shapes |= {f"{kind}/{name}": (torch.float32, shape) for kind in zero_state.KINDS}
    generators = _generator_states()
    shapes |= {
        f"rng/{rank.global_rank}/{name}": (value.dtype, tuple(value.shape))
        for name, value in generators.items()
    }
    with SafetensorsWriter(path, shapes) as file:
        for name in engine.owned:
            for kind in zero_state.KINDS:
                whole = zero_state.read(
                    engine.parameters[name], kind, engine.optimizer
                )  # all ranks of the stage
                if name in mine:
                    file.write(f"{kind}/{name}", unpadded(name, whole, config.model))
        for name, value in generators.items():
            file.write(f"rng/{rank.global_rank}/{name}", value)
    return gather_json(
        {**file.file_record(), "tensors": list(shapes), "not_finite": file.not_finite}, _device(engine)
    )


def resume(
    attempt: Attempt, config: RunConfig, sources: Sources, engine: Engine, rank: Rank
) -> tuple[RunState | None, Origin]:
    """Load the run's newest whole checkpoint, linked into the attempt's folder; return where it came from.

    Every rank must call it. Any layout loads what any other has saved. A run without a checkpoint begins with
    the weights of `run.init_from`, when that is given, and has no state.

    Raises UsageError when the configuration describes another run, RunError when all are damaged.
    """
    found = _find_and_link(attempt, rank, _device(engine))
    if found is None:
        zero_state.set_updates(engine.optimizer, 0)  # those of the dry run
        seed_generators(config.run.seed, 0, rank.global_rank)
        if config.run.init_from is not None:
            _load_weights(open_weights(config.run.init_from), engine)
        return None, Origin(attempt=0, step=0)
    checkpoint, origin = found
    return _restore(checkpoint, config, sources, engine, rank), origin


def roll_back(
    attempt: Attempt, config: RunConfig, sources: Sources, engine: Engine, rank: Rank
) -> RunState | None:
    """Load the attempt's own newest whole checkpoint; None when it has none. Every rank must call it."""
    saved = _of_first_rank(saved_in(attempt.folder), _device(engine))
    checkpoint = _first_whole_together(saved, rank, _device(engine))
    dist.barrier()  # nobody looks any more at those that now go
    if checkpoint is None:
        return None
    for path in saved[: saved.index(checkpoint.path)] if rank.is_first else ():
        set_aside(path)
    return _restore(checkpoint, config, sources, engine, rank)


def _restore(
    checkpoint: Checkpoint, config: RunConfig, sources: Sources, engine: Engine, rank: Rank
) -> RunState:
    """Load a checkpoint into this layout.

    With the same processes and stages, dropout's generators go on as they were; otherwise they are seeded
    anew by (seed, step, rank).
    """
    then = checkpoint.state
    for change in config_changes(config, then, sources, rank.world_size):
        if rank.is_first:
            log.warning(change)
    load(checkpoint, engine, config)
    if (then.processes, then.stages) == (rank.world_size, config.parallel.pipeline_stages):
        _restore_generators(checkpoint, rank.global_rank)
    else:
        seed_generators(config.run.seed, then.step, rank.global_rank)
    return then


def load(checkpoint: Checkpoint, engine: Engine, config: RunConfig) -> None:
    """Put a checkpoint's weights and optimizer state into this layout; each rank takes what it holds."""
    zero_state.set_updates(engine.optimizer, checkpoint.state.updates)
    for name, parameter in engine.parameters.items():
        for kind in zero_state.KINDS:
            whole = padded(name, checkpoint.tensor(f"{kind}/{name}"), config.model)
            zero_state.write(parameter, kind, whole, engine.optimizer)


def _load_weights(weights: Weights, engine: Engine) -> None:
    """Put another model's weights in place of the initial ones; Adam begins anew."""
    for name, parameter in engine.parameters.items():
        whole = padded(name, weights.tensor(name), weights.config)
        zero_state.write(parameter, zero_state.WEIGHT, whole, engine.optimizer)


def not_finite(run: Path, what: str) -> RunError:
    """Describe numbers that are no numbers any more, and from where the run can go on."""
    last = next(newest(run), None)
    start = f"goes on from {last.name}" if last else "begins anew, for there is no checkpoint yet"
    return RunError(
        f"{what}; nothing of it is saved: lower optimizer.lr or lengthen schedule.warmup_tokens; "
        f"the same command then {start}"
    )


def seed_generators(seed: int, step: int, rank: int) -> None:
    """Seed dropout: every rank, and every move to another layout, draws its own numbers."""
    torch.manual_seed(xxhash.xxh3_64_intdigest(f"dropout/{seed}/{step}/{rank}".encode()) % 2**63)


def _find_and_link(attempt: Attempt, rank: Rank, device: str) -> tuple[Checkpoint, Origin] | None:
    """All ranks take the newest whole checkpoint of the run, once the first has linked it for the attempt.

    An older attempt that lives on may let go of what they look at: then they look again.
    """
    while True:
        paths = _of_first_rank(newest(attempt.run) if rank.is_first else [], device)
        checkpoint, failure, gone = None, None, False
        try:
            checkpoint = _first_whole_together(paths, rank, device)
        except RunError as error:
            failure = error
        if rank.is_first and paths:
            gone = not paths[0].exists()
            if checkpoint and not gone:
                try:
                    checkpoint.link_into(attempt.folder)
                except FileNotFoundError:
                    gone = True
        if gather_json(gone, device)[0]:
            continue
        if failure:
            raise failure
        if checkpoint is None:
            return None
        origin = Origin(attempt=int(checkpoint.path.parents[1].name), step=checkpoint.state.step)
        return Checkpoint.open(attempt.folder / "checkpoints" / checkpoint.path.name), origin


def _of_first_rank(paths: Iterable[Path], device: str) -> list[Path]:
    """Let all ranks have the list of the first: directories that change may look different on other nodes."""
    return [Path(path) for path in gather_json([str(path) for path in paths], device)[0]]


def _first_whole_together(paths: list[Path], rank: Rank, device: str) -> Checkpoint | None:
    """Each rank verifies some of the files; all take the same checkpoint."""

    def share(names: list[str]) -> list[str]:
        return names[rank.global_rank :: rank.world_size]

    def agree(reason: str | None) -> str | None:
        return next((found for found in gather_json(reason, device) if found), None)

    return first_whole(paths, share, agree)


def _generator_states() -> dict[str, torch.Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _restore_generators(checkpoint: Checkpoint, rank: int) -> None:
    torch.set_rng_state(checkpoint.tensor(f"rng/{rank}/cpu"))
    if f"rng/{rank}/cuda" in checkpoint.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(checkpoint.tensor(f"rng/{rank}/cuda"))


def _device(engine: Engine) -> str:
    return next(iter(engine.parameters.values())).device.type
