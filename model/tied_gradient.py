"""One gradient for the two roles of a tied matrix, where both are played in one process.

Left to itself, autograd makes a whole gradient for the embedding, which is zero but for the batch's tokens,
and adds it to the head's: at GPT-2's vocabulary two passes over 150 MB for some hundred rows, and as much
memory. Here the head's gradient comes to the embedding's node, which adds its rows to it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def embed(tokens: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of `weight` (vocab, d_model) for `tokens` (batch, time), and the path of the head's gradient.

    The path has the matrix's shape and no memory: only a gradient goes along it, to `weight`. It keeps no
    weights alive, because ZeRO-3 frees them between the two roles.
    """
    embedded: tuple[Tensor, Tensor] = _Embed.apply(tokens, weight)  # type: ignore[no-untyped-call]
    return embedded


def via(path: Tensor, weight: Tensor) -> Tensor:
    """The matrix for the head, whose gradient goes along the path alone."""
    lent: Tensor = _Via.apply(path, weight.detach())  # type: ignore[no-untyped-call]
    return lent


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tokens: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(tokens)
        return F.embedding(tokens, weight), weight.new_empty(()).expand(weight.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_rows: Tensor, d_weight: Tensor) -> tuple[None, Tensor]:
        (tokens,) = ctx.saved_tensors  # type: ignore[attr-defined]
        # In place: the head made it for us alone. index_put_ is deterministic on every device.
        return None, d_weight.index_put_((tokens,), d_rows, accumulate=True)


class _Via(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, path: Tensor, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_weight: Tensor) -> tuple[Tensor, None]:
        return d_weight, None
