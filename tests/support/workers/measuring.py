"""A rank that measures what it holds and exchanges in runs of real engines.

Its arguments are the configuration files of the runs; it prints a JSON object for each on standard output.
What it holds are distinct tensor storages: bytes by kind, at their fullest.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model import loss
from pipeline.config import RunConfig, load_ahead
from pipeline.data.loader import MicroBatch
from pipeline.distributed.deepspeed_workarounds import forget_pipeline_groups
from pipeline.distributed.device import Device, find_device
from pipeline.distributed.engine import build_engine
from pipeline.distributed.ranks import init_distributed, rank_from_environment
from pipeline.distributed.zero_state import optimizer_within
from support.collectives import Collectives
from support.live_memory import LiveMemory

KINDS = ("weights", "gradients", "optimizer", "buffers")
BUFFERS = ("ipg", "inflight")
"""Words in DeepSpeed's names of what collectives copy into."""


def measure(config: RunConfig, device: Device) -> dict[str, Any]:
    """Take three steps of the real engine; return the most bytes of each kind that the first two have shown.

    "kept" are those of weights that the backward pass holds fast. "exchanged" is what the third step passed
    between ranks: when ZeRO-3 has seen the order of the layers. "fresh" are the most bytes that one forward
    and backward pass of the fourth has made and not yet let go, "loss" those of the head and its loss alone.
    """
    forget_pipeline_groups()
    engine: Any = build_engine(config, device)
    fullest = dict.fromkeys(KINDS, 0)
    weights = list(engine._engine.module.parameters())
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        """Note what the backward pass keeps of a weight; a parameter is no more than a reference to it."""
        whole = {weight.data.untyped_storage().data_ptr() for weight in weights if weight.numel()}
        if not isinstance(tensor, nn.Parameter) and tensor.untyped_storage().data_ptr() in whole:
            note(kept, tensor)
        return tensor

    standing: dict[str, dict[int, int]] = {}
    """What each kind held when the last forward pass began."""

    def look(*_: Any) -> None:
        standing.update(storages(engine))
        for kind, found in standing.items():
            fullest[kind] = max(fullest[kind], sum(found.values()))

    def copied(*copies: Tensor) -> None:
        """Note buffers while a reduction or the update uses them: DeepSpeed's, and copies of gradients."""
        buffers = dict(storages(engine)["buffers"])
        for tensor in copies:
            note(buffers, tensor)
        for kind in ("weights", "gradients", "optimizer"):
            for address in standing[kind]:
                buffers.pop(address, None)
        fullest["buffers"] = max(fullest["buffers"], sum(buffers.values()))

    # Here gradients have been summed. Afterwards they are reduced in copies, which are the planner's buffers.
    engine._engine.module.register_forward_pre_hook(look)

    def step() -> None:
        engine.train_batch(batches(config, engine.dp_size), config.batch.global_batch_size, 0.01)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for _ in range(2):
            step()
    look()
    adam = optimizer_within(engine.optimizer)
    adam.register_step_pre_hook(
        lambda *_: copied(
            *(p.grad for group in adam.param_groups for p in group["params"] if p.grad is not None)
        )
    )
    with Collectives(copied) as exchanged:
        step()
    with LiveMemory() as fresh, loss_memory() as of_loss:
        step()
    return {
        **fullest,
        "kept": sum(kept.values()),
        "exchanged": exchanged.rows(),
        "fresh": fresh.most,
        "loss": max((each.most for each in of_loss), default=0),
    }


@contextmanager
def loss_memory() -> Iterator[list[LiveMemory]]:
    """Within it, the memory of each computation of the head's loss."""
    computed, found = loss._loss_and_gradients, list[LiveMemory]()

    def seen(*arguments: Any, **named: Any) -> Any:
        with LiveMemory() as memory:
            result = computed(*arguments, **named)
        found.append(memory)
        return result

    loss._loss_and_gradients = seen
    yield found
    loss._loss_and_gradients = computed


def storages(engine: Any) -> dict[str, dict[int, int]]:
    """Address and bytes of each storage: parameters of the module, gradients, what else the optimizer has.

    What hangs on a parameter as its gradient is one, and what DeepSpeed calls so; BUFFERS are its buckets
    and, under ZeRO-3, the weights that it is gathering.
    """
    held: dict[str, dict[int, int]] = {kind: {} for kind in KINDS}
    weights = list(engine._engine.module.parameters())
    for weight in weights:
        note(held["weights"], weight.data)
        note(held["weights"], getattr(weight, "ds_tensor", None))
    for name, tensor in tensors(engine.optimizer):
        passing = any(word in name for word in BUFFERS)
        note(held["buffers" if passing else "gradients" if "grad" in name else "optimizer"], tensor)
    for weight in weights:
        for gradient in (weight.grad, getattr(weight, "grad_accum", None)):
            note(held["gradients"], gradient)
    for address in held["weights"]:
        held["optimizer"].pop(address, None)
        held["gradients"].pop(address, None)
    for address in (*held["gradients"], *held["buffers"]):
        held["optimizer"].pop(address, None)
    for address in held["buffers"]:
        held["gradients"].pop(address, None)
    return held


def note(found: dict[int, int], tensor: Any) -> None:
    """Add a tensor's storage."""
    if isinstance(tensor, Tensor) and tensor.device.type != "meta":
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()


def tensors(held: Any, name: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
    """Walk an optimizer of torch's or DeepSpeed's: every tensor within it, with the path to it."""
    seen = set() if seen is None else seen
    if id(held) in seen:
        return
    seen.add(id(held))
    if isinstance(held, Tensor):
        yield name, held
        if held.grad is not None:
            yield f"{name}.grad", held.grad
        return
    if isinstance(held, dict):
        inside = [(f"{name}.{key}" if isinstance(key, str) else name, value) for key, value in held.items()]
    elif isinstance(held, list | tuple | set):
        inside = [(name, value) for value in held]
    elif type(held).__module__.startswith(("deepspeed.runtime", "torch.optim")):
        inside = [(f"{name}.{key}", value) for key, value in vars(held).items()]
    else:
        return
    for path, value in inside:
        yield from tensors(value, path, seen)


def batches(config: RunConfig, replicas: int) -> Iterator[MicroBatch]:
    """Random micro-batches of one step."""
    for _ in range(config.batch.global_batch_size // (config.batch.micro_batch_size * replicas)):
        shape = (config.batch.micro_batch_size, config.model.n_ctx + 1)
        tokens = torch.randint(config.model.vocab_size, shape)
        yield tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # DeepSpeed prints
    rank = rank_from_environment()
    assert rank is not None
    init_distributed(rank, find_device(rank.local_rank).backend, 600)
    for path in sys.argv[1:]:
        config = load_ahead(Path(path), [])
        told = measure(config, find_device(rank.local_rank, config.train.precision))
        os.write(out, json.dumps(told).encode() + b"\n")
    os._exit(0)
