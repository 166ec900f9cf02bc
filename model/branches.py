"""What the tokens of a batch see when its rows are trees (`model.tree`) and not plain texts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Branches:
    """Positions and masks of a batch of trees, whose tokens stand in depth-first order.

    `depth` (batch, time) int64: the position of each token. `end` (batch, time) int64: the tokens that see
    token i are i, ..., end[i] - 1. `bands`: the widths of the model's attention layers, None for dense.
    """

    def __init__(self, depth: Tensor, end: Tensor, bands: Iterable[int | None]) -> None:
        self.depth = depth
        place = torch.arange(depth.size(1), device=depth.device)
        seen = (place <= place[:, None]) & (place[:, None] < end[:, None])
        distance = depth[:, :, None] - depth[:, None]
        self.masks = {
            band: (seen if band is None else seen & (distance < band))[:, None] for band in set(bands)
        }
        """By width, (batch, 1, time, time) bool: whether a query (first time) sees a key."""
