"""Dropout whose masks belong to the rows of a batch: each row draws its own, from a generator of its own.

torch draws the masks of a whole batch at once, so that they depend on how a batch is divided over processes.
Here a row with a key loses the same values wherever it is computed, and a resumed training needs no state of
a generator. Drawing costs as much as torch's; what is lost is attention's fused kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.attention import Attention
from model.gpt import GPT


class KeyedDropout(nn.Module):
    """One module for all places of a GPT in which values are dropped with probability `p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._generators: list[torch.Generator] = []

    def install(self, gpt: GPT) -> None:
        """Take the place of the model's own dropout, whose probability is `p`, too."""
        for module in gpt.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.Dropout):
                    setattr(module, name, self)
            if isinstance(module, Attention):
                module.dense, module.banded = self._dense, self._attention

    def begin(self, keys: Sequence[int], device: torch.device) -> None:
        """Name the rows of the next forward pass by keys of 64 bits."""
        self._generators = [torch.Generator(device).manual_seed(key) for key in keys]

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of (rows, ...), and scale the others by 1 / (1 - p). In evaluation, nothing."""
        if not self.training or not self.p:
            return x
        mask = torch.empty_like(x)
        for row, generator in zip(mask, self._generators, strict=True):
            row.bernoulli_(1 - self.p, generator=generator)
        return x * mask.div_(1 - self.p)

    def _dense(self, q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
        return self._attention(q, k, v, q.size(2), dropout)

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
        """Attention by its definition, since no fused kernel takes a mask for its weights."""
        places = torch.arange(q.size(2), device=q.device)
        distance = places[:, None] - places
        unseen = (distance < 0) | (distance >= band)
        scores = (q / math.sqrt(q.size(3)) @ k.mT).masked_fill(unseen, -torch.inf)
        mixed: Tensor = self(scores.softmax(-1)) @ v
        return mixed
