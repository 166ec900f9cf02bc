"""FlexAttention for banded layers: opt-in, compared with the block-local form first, dropped if it differs.

On a GPU the compiled kernel skips what lies outside the band. On a CPU it has no backward (torch 2.13).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from model.attention import Attention, Banded, banded_attention
from model.parity import difference, standard_normal


class FlexKernel:
    """Banded attention by FlexAttention, compiled at its first call."""

    def __init__(self) -> None:
        self._attention = torch.compile(flex_attention, dynamic=False)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
        """Mix (batch, heads, time, d_head); ValueError for dropout, which FlexAttention does not have."""
        if dropout:
            raise ValueError(f"FlexAttention has no dropout, and model.dropout is {dropout}")
        mixed: Tensor = self._attention(q, k, v, block_mask=_block_mask(q.size(2), band, q.device))
        return mixed


def install_kernel(module: nn.Module, time: int, kernel: Banded) -> str | None:
    """Give the banded layers of a module this kernel; or leave them as they are and return the reason.

    The kernel is tried at `time` tokens, forward and backward, in the weights' own dtype, on their device.
    """
    layers = [part for part in module.modules() if isinstance(part, Attention) and part.band is not None]
    layers = [layer for layer in layers if layer.band < time]  # type: ignore[operator]
    for layer in {layer.band: layer for layer in layers}.values():
        if (reason := _difference(layer, time, kernel)) is not None:
            return reason
    for layer in layers:
        layer.banded = kernel
    return None


def _difference(layer: Attention, time: int, kernel: Banded) -> str | None:
    """Return how a kernel differs from the block-local form, if it does."""
    weight, band = layer.qkv.weight, layer.band
    assert band is not None
    shape = (1, layer.n_head, time, weight.size(0) // 3 // layer.n_head)
    q, k, v, grad = standard_normal(weight, *[shape] * 4)
    inputs = {name: x.requires_grad_() for name, x in (("the query", q), ("the key", k), ("the value", v))}
    return difference(
        lambda q, k, v: banded_attention(q, k, v, band),
        lambda q, k, v: kernel(q, k, v, band, layer.dropout),
        inputs,
        grad,
    )


@cache
def _block_mask(time: int, band: int, device: torch.device) -> BlockMask:
    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < band)

    return create_block_mask(seen, None, None, time, time, device=device.type)
