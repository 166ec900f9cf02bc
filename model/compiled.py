"""torch.compile for blocks: opt-in, compared with the block as it is written first, dropped if it differs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from model.attention import Attention
from model.block import Block
from model.parity import difference, standard_normal

Backend = str | Callable[..., Any]
"""What compiles, as torch.compile takes it."""


def compile_blocks(module: nn.Module, batch: int, time: int, backend: Backend = "inductor") -> str | None:
    """Compile the forward pass of a module's blocks in place; or leave them alone and return the reason.

    One block of each kind is tried at (batch, time) tokens without dropout, forward and backward, in the
    weights' own dtype, on their device. Names of modules and parameters stay.
    """
    blocks = [part for part in module.modules() if isinstance(part, Block)]
    for block in {block.attn.band: block for block in blocks}.values():
        if (reason := _difference(block, batch, time, backend)) is not None:
            return reason
    for block in blocks:
        # Not Module.compile: what wraps `forward`, such as activation checkpointing, would go unseen into it,
        # and torch then compiles nothing and does not say so.
        block.forward = _compiled(block, backend)  # type: ignore[method-assign]
    return None


def _compiled(block: Block, backend: Backend) -> Callable[..., Any]:
    # Blocks of one kind share what is compiled, as weights are arguments of it.
    return torch.compile(block.forward, dynamic=False, backend=backend)


def _difference(block: Block, batch: int, time: int, backend: Backend) -> str | None:
    """Return how a compiled block differs from the original, if it does."""
    block = copy.deepcopy(block)
    for part in block.modules():  # not eval(): what is compiled here is what trains without dropout
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        elif isinstance(part, Attention):
            part.dropout = 0.0
    shape = (batch, time, block.ln_1.weight.numel())
    hidden, grad = standard_normal(block.ln_1.weight, shape, shape)
    hidden.requires_grad_()
    weights = dict(block.named_parameters())
    forward = _compiled(block, backend)
    return difference(
        lambda hidden, *values: functional_call(block, dict(zip(weights, values, strict=True)), hidden),
        lambda hidden, *_: forward(hidden),  # with the block's own weights, which the values are
        {"its input": hidden, **weights},
        grad,
    )
