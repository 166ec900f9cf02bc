"""The language model's loss: the head's product and its cross-entropy in one step, by chunks when large.

At 50,257 ids the logits are the largest tensor of a training step, and autograd holds three of their size:
logits, log-probabilities, gradient. Here a chunk of them becomes all three in place, and the gradients of
hidden states and matrix are computed in the forward pass, so that nothing of that size outlives its chunk.
The products are those of the plain computation; what is saved is passes over memory.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

IGNORED = -100
"""A target that counts in no loss."""
LARGEST_CHUNK = 2**26
"""Logits that stand at once: 256 MiB in fp32. Smaller chunks read and write the matrix too often."""


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor, vocab_size: int) -> Tensor:
    """Cross-entropy in nats, in float32, of the logits `hidden @ weight.T`, summed over the targets that
    count, over the number of all targets: a scalar, 0 where none counts.

    `hidden` (batch, time, d_model); `weight` (padded_vocab, d_model), whose rows from `vocab_size` on have no
    share; `targets` (batch, time) int64, IGNORED where one does not count. The divisor is a constant, so the
    mean over micro-batches is the same however a batch is divided into them.
    """
    flat = targets.flatten()
    kept = flat != IGNORED
    shares = kept.to(torch.promote_types(hidden.dtype, torch.float32)) / flat.numel()
    return weighted_loss(hidden.flatten(0, -2), weight, flat.where(kept, 0), shares, vocab_size)


def weighted_loss(hidden: Tensor, weight: Tensor, targets: Tensor, shares: Tensor, vocab_size: int) -> Tensor:
    """Sum of each token's cross-entropy, in nats, times its share: a scalar.

    `hidden` (tokens, d_model); `targets` (tokens,) int64; `shares` (tokens,) of at least float32; `weight` as
    in `head_loss`.
    """
    flat = hidden, weight, targets, shares, vocab_size
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        loss: Tensor = _HeadLoss.apply(*flat)  # type: ignore[no-untyped-call]
        return loss
    return _loss_and_gradients(*flat, wanted=False)[0]


class _HeadLoss(torch.autograd.Function):
    """The loss of tokens (tokens, d_model), which knows its gradients before it is asked for them."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, hidden: Tensor, weight: Tensor, targets: Tensor, shares: Tensor, vocab_size: int
    ) -> Tensor:
        loss, d_hidden, d_weight = _loss_and_gradients(
            hidden, weight, targets, shares, vocab_size, wanted=True
        )
        ctx.save_for_backward(d_hidden, d_weight)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden, d_weight = ctx.saved_tensors  # type: ignore[attr-defined]
        # In place: the matrix is large. A second backward would find this out, and raise.
        d_hidden.mul_(grad)
        # On a CPU a loss that nothing scales is seen at no cost; on a GPU a look would wait for it.
        if grad.device.type != "cpu" or grad != 1:
            d_weight.mul_(grad)
        return d_hidden, d_weight, None, None, None


def _loss_and_gradients(
    hidden: Tensor, weight: Tensor, targets: Tensor, shares: Tensor, vocab_size: int, wanted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and when wanted the gradients of `hidden` and `weight` in their dtypes (else empty)."""
    precise = torch.promote_types(hidden.dtype, torch.float32)
    share, targets = shares.unsqueeze(1), targets.unsqueeze(1)
    loss = torch.zeros((), dtype=precise, device=hidden.device)
    chunks = max(1, -(-hidden.size(0) * weight.size(0) // LARGEST_CHUNK))
    d_hidden = torch.empty_like(hidden if wanted else hidden[:0])
    # One chunk gives the gradient at once; several are added up in fp32.
    d_weight = torch.zeros_like(weight if wanted and chunks > 1 else weight[:0], dtype=precise)
    place = 0
    for h, target, part in zip(hidden.chunk(chunks), targets.chunk(chunks), share.chunk(chunks), strict=True):
        logits = (h @ weight.T).to(precise)
        logits[:, vocab_size:] = -torch.inf
        torch.log_softmax(logits, -1, out=logits)
        # where, not a product: of a token that is left out, even an infinite loss has no share
        loss -= (logits.gather(1, target) * part).where(part > 0, 0).sum()
        if not wanted:
            del logits  # before the next chunk's
            continue
        # d loss / d logits = (probabilities - one at the target) * share
        gradient = logits.exp_().mul_(part).scatter_add_(1, target, -part).to(hidden.dtype)
        torch.mm(gradient, weight, out=d_hidden[place : place + len(h)])
        place += len(h)
        if chunks == 1:
            d_weight = gradient.T @ h
        elif precise == weight.dtype:
            d_weight.addmm_(gradient.T, h)
        else:
            d_weight += gradient.T @ h
        del logits, gradient
    return loss, d_hidden, d_weight.to(weight.dtype)
