"""What is learned of an example: a class, a number, or a grade spread over six classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dataprep.errors import DataError
from pipeline.finetune.examples import Example
from pipeline.finetune.settings import Finetune, Target

GRADES = 6
"""Classes of an ordinal target: the grades 0 to 5."""


@dataclass(frozen=True)
class Targets:
    """How labels become numbers that a loss takes, and logits predictions."""

    target: Target
    labels: tuple[str, ...] = ()
    """Classes in their order; of a multiple choice, the numbers of the answers."""

    @property
    def outputs(self) -> int:
        """Numbers that the head gives."""
        return {"classes": len(self.labels), "regression": 1, "ordinal": GRADES}[self.target]

    def gold(self, examples: Sequence[Example]) -> npt.NDArray[Any]:
        """Numbers of the classes, (examples,) int64, or the numbers themselves, float64.

        Raises DataError that names file and row of a label that is no class, or no number.
        """
        if self.target == "classes":
            number = {label: index for index, label in enumerate(self.labels)}
            return np.array([number[self._known(example)] for example in examples], np.int64)
        return np.array([self._number(example) for example in examples], np.float64)

    def encode(self, gold: npt.NDArray[Any]) -> Tensor:
        """What `task_loss` takes: (examples,) int64 or float32, or of grades (examples, 6) float32.

        A grade becomes a distribution over its two neighbours whose mean it is (Tai et al. 2015, section
        4.2).
        """
        if self.target == "classes":
            return torch.from_numpy(gold)
        values = torch.from_numpy(gold)
        if self.target == "regression":
            return values.float()
        below = values.floor().clamp(max=GRADES - 2)
        spread = torch.zeros(len(values), GRADES, dtype=torch.float64)
        spread.scatter_(1, below.long()[:, None], (1 - (values - below))[:, None])
        spread.scatter_(1, below.long()[:, None] + 1, (values - below)[:, None])
        return spread.float()

    def predict(self, logits: Tensor) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]:
        """Predictions like `gold`, and the probabilities of the classes (examples, classes), if any."""
        logits = logits.double().cpu()
        if self.target == "regression":
            return logits[:, 0].numpy(), None
        probabilities = logits.softmax(-1)
        if self.target == "classes":
            return logits.argmax(-1).numpy(), probabilities.numpy()
        return (probabilities @ torch.arange(GRADES, dtype=torch.float64)).numpy(), probabilities.numpy()

    def named(self, predicted: npt.NDArray[Any]) -> list[str] | list[float]:
        """Predictions as labels, or as they are."""
        return [self.labels[index] for index in predicted] if self.labels else predicted.tolist()

    def _known(self, example: Example) -> str:
        if example.label not in self.labels:
            raise DataError(
                f"{example.where}: the label {example.label!r} is none of "
                f"{', '.join(self.labels)}: correct it, or add it to the training set"
            )
        return str(example.label)

    def _number(self, example: Example) -> float:
        try:
            value = float(example.label)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (self.target == "ordinal" and not 0 <= value <= GRADES - 1):
            wanted = "a grade of 0 to 5" if self.target == "ordinal" else "a number"
            raise DataError(f"{example.where}: the label {example.label!r} is not {wanted}: correct it")
        return value


def targets_of(settings: Finetune, train: Sequence[Example]) -> Targets:
    """The classes of a training set, unless the settings name them.

    Raises DataError that names a file and row, when there is only one class, or a class has one example: most
    often a slip of the pen.
    """
    if settings.target != "classes":
        return Targets(settings.target)
    if settings.kind == "multiple_choice":
        return Targets("classes", tuple(map(str, range(len(train[0].texts) - 1))))
    counts = Counter(str(example.label) for example in train)
    if len(counts) == 1:
        raise DataError(
            f"{train[0].where}: like all rows it has the label {train[0].label!r}, so that "
            "there is nothing to learn: give examples of another class, or correct finetune.columns"
        )
    if settings.labels is not None:
        return Targets("classes", tuple(settings.labels))
    for example in train:
        if counts[str(example.label)] == 1:
            raise DataError(
                f"{example.where}: no other row has the label {example.label!r}: correct it, "
                "or name all classes in finetune.labels"
            )
    return Targets("classes", tuple(sorted(counts)))


def task_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over examples of the cross-entropy in nats, or of the square error of a regression: a scalar."""
    if targets.dim() == 1 and targets.is_floating_point():
        return F.mse_loss(logits[:, 0], targets, reduction="sum")
    return F.cross_entropy(logits, targets, reduction="sum")
