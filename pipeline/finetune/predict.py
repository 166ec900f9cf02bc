"""What a model predicts of a set, and the scores of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.classifier import Classifier
from pipeline.finetune.batches import by_length
from pipeline.finetune.data import Encoded
from pipeline.finetune.group import Group
from pipeline.finetune.metrics import score
from pipeline.finetune.targets import Targets, task_loss

BATCH_TOKENS = 8192
"""Tokens that a process reads at once, with padding."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of all examples of a set, in its order."""

    values: npt.NDArray[Any]
    """(examples,) numbers of classes, or grades."""
    probabilities: npt.NDArray[np.float64] | None
    """(examples, classes); None of a regression."""
    loss: float
    """Mean loss of the task."""

    def scores(self, gold: npt.NDArray[Any], metrics: Sequence[str]) -> dict[str, float]:
        """The score of each metric."""
        classes = 0 if self.probabilities is None else self.probabilities.shape[1]
        return {name: score(name, gold, self.values, classes) for name in metrics}


def predict(model: Classifier, encoded: Encoded, targets: Targets, group: Group) -> Predicted:
    """Read a set, each process its share; all get the whole. The model is put into evaluation mode."""
    batches = group.share(by_length(encoded.lengths, BATCH_TOKENS))
    shares = group.gather(_logits(model, encoded, batches, group.device.type))
    by_example = {index: row for share in shares for index, row in share}
    logits = torch.tensor([by_example[index] for index in range(len(encoded))])
    values, probabilities = targets.predict(logits)
    return Predicted(values, probabilities, float(task_loss(logits, encoded.targets)) / len(encoded))


@torch.no_grad()
def _logits(
    model: Classifier, encoded: Encoded, batches: Sequence[list[int]], device: str
) -> list[tuple[int, list[float]]]:
    """The number of each example with its logits."""
    model.eval()
    found: list[tuple[int, list[float]]] = []
    for indices in batches:
        batch = encoded.batch(indices, max(encoded.lengths[index] for index in indices), device)
        _, logits = model(batch.tokens, batch.lengths)
        found += zip(indices, logits.tolist(), strict=True)
    return found
