"""Checkpoints of a fine-tuning, in the format of training runs: weights, Adam's state, the selected weights.

The first process writes them all. Dropout's masks are keyed, so that there are no generators to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from model import GPTConfig
from model.names import padded, unpadded
from pipeline.checkpoint.attempts import Attempt, Origin
from pipeline.checkpoint.format import Checkpoint, CheckpointWriter, first_whole, newest
from pipeline.checkpoint.run_state import RunState
from pipeline.checkpoint.safetensors_writer import SafetensorsWriter
from pipeline.errors import RunError

KEEP = 2
"""Checkpoints that stay."""
MOMENTS = ("exp_avg", "exp_avg_sq")

Weights = dict[str, Tensor]
"""Canonical name -> whole tensor, padded, on the CPU."""


def save(
    folder: Path,
    now: RunState,
    config: GPTConfig,
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    best: Weights | None,
) -> Path:
    """Write a checkpoint to an attempt's folder; returns its path. best: None when that is what it holds.

    Raises RunError, and publishes nothing, when a tensor is not finite.
    """
    writer = CheckpointWriter(folder, now.step)
    writer.prepare()
    tensors = {name: value.detach() for name, value in _tensors(config, parameters, optimizer, best)}
    shapes = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    try:
        with SafetensorsWriter(writer.share(0), shapes) as file:
            for name, value in tensors.items():
                file.write(name, value)
        if file.not_finite:
            raise RunError(f"{file.not_finite} is not finite after update {now.step}: lower finetune.lr")
    except BaseException:
        writer.abandon()
        raise
    writer.publish(now, [{**file.file_record(), "tensors": list(shapes)}], KEEP)
    return writer.path


def _tensors(
    config: GPTConfig,
    parameters: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    best: Weights | None,
) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in parameters.items():
        yield f"weight/{name}", unpadded(name, parameter, config)
        for moment in MOMENTS:
            if moment in optimizer.state[parameter]:
                yield f"{moment}/{name}", unpadded(name, optimizer.state[parameter][moment], config)
    for name, value in (best or {}).items():
        yield f"best/{name}", unpadded(name, value, config)


def find_and_link(attempt: Attempt) -> tuple[Path, Origin] | None:
    """Link the newest whole checkpoint of the run into the attempt's folder; None when there is none.

    An older attempt that lives on may let go of it meanwhile: then it looks again. Raises RunError when all
    are damaged.
    """
    while checkpoint := first_whole(list(newest(attempt.run))):
        try:
            checkpoint.link_into(attempt.folder)
        except FileNotFoundError:
            continue
        origin = Origin(attempt=int(checkpoint.path.parents[1].name), step=checkpoint.state.step)
        return attempt.folder / "checkpoints" / checkpoint.path.name, origin
    return None


def restore(
    checkpoint: Checkpoint, config: GPTConfig, parameters: Mapping[str, nn.Parameter], optimizer: Optimizer
) -> None:
    """Put a checkpoint's weights and moments in the place of those that stand."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(padded(name, checkpoint.tensor(f"weight/{name}"), config))
            state = {
                moment: padded(name, checkpoint.tensor(f"{moment}/{name}"), config).to(parameter.device)
                for moment in MOMENTS
                if f"{moment}/{name}" in checkpoint.tensors
            }
            if state:
                step = torch.tensor(float(checkpoint.state.updates), device=parameter.device)
                optimizer.state[parameter] = {"step": step, **state}


def best_of(checkpoint: Checkpoint, config: GPTConfig) -> Weights | None:
    """The selected weights beside the current ones; None when these are the selected ones."""
    names = [name for name in checkpoint.tensors if name.startswith("best/")]
    found = {name.removeprefix("best/"): checkpoint.tensor(name) for name in names}
    return {name: padded(name, value, config) for name, value in found.items()} or None
