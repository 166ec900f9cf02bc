"""The paper's schedule and optimizer, and today's; which numbers they take, the settings hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from pipeline.finetune.settings import Finetune


def rate_of(settings: Finetune, update: int, updates: int) -> float:
    """The learning rate of an update, counted from 0."""
    if settings.recipe == "gpt1":
        return settings.lr * paper_schedule(update / updates, settings.warmup)
    return settings.lr * linear_schedule(update, updates, math.ceil(settings.warmup * updates))


def paper_schedule(share: float, warmup: float) -> float:
    """Share of the peak after a share of the updates (openai/finetune-transformer-lm, opt.py).

    The decay also lowers the rise, and the first update has rate 0.

    >>> paper_schedule(0, 0.5), paper_schedule(0.25, 0.5), paper_schedule(0.75, 0.5)
    (0.0, 0.375, 0.25)
    """
    return (min(share / warmup, 1.0) if warmup else 1.0) * (1 - share)


def linear_schedule(update: int, updates: int, warmup: int) -> float:
    """Share of the peak: it rises over the first `warmup` updates, and falls to 0 (run_glue).

    >>> [linear_schedule(update, 6, 2) for update in range(6)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
    """
    return update / warmup if update < warmup else (updates - update) / (updates - warmup)


def optimizer_of(settings: Finetune, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The recipe's optimizer: the paper's decays every matrix, embeddings and head included; so does ours.

    Its state of a parameter is {"step", "exp_avg", "exp_avg_sq"}; its rate is set before each update.
    """
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for parameter in parameters:
        (matrices if parameter.dim() > 1 else vectors).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    form = PaperAdam if settings.recipe == "gpt1" else AdamW
    return form(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


class PaperAdam(AdamW):
    """Adam as GPT-1's released code has it (openai/finetune-transformer-lm, opt.py).

    With a = lr * sqrt(1 - b2^t) / (1 - b1^t):  p -= a * (m / (sqrt(v) + eps) + decay * p).
    So eps is added to the root before its correction, and the decay is scaled by the corrected step: AdamW
    with other values of eps and decay at each update.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step of all parameters, each of which has a gradient."""
        assert closure is None
        given = [(group["eps"], group["weight_decay"]) for group in self.param_groups]
        first = next(iter(self.state.values()), None)
        t = int(first["step"]) + 1 if first else 1
        for group in self.param_groups:
            b1, b2 = group["betas"]
            root = math.sqrt(1 - b2**t)
            group["eps"] /= root
            group["weight_decay"] *= root / (1 - b1**t)
        super().step()
        for group, (eps, decay) in zip(self.param_groups, given, strict=True):
            group["eps"], group["weight_decay"] = eps, decay
