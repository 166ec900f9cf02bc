"""The language model's loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats a token, in float32: a scalar.

    `logits` (batch, time, padded_vocab) come from the head, whose padding logits softmax turns to 0, so
    padding never enters the sum. `targets` (batch, time) int64; a target of -100 is left out of the mean.
    """
    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())
