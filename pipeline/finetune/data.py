"""A set of examples as the model takes it: sequences of ids, padded when a batch is made, and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import xxhash
from torch import Tensor

from dataprep.errors import DataError
from pipeline.finetune import examples
from pipeline.finetune.examples import Example
from pipeline.finetune.settings import Finetune
from pipeline.finetune.targets import Targets
from pipeline.finetune.transformations import Ids, Transformation


class Batch(NamedTuple):
    """Some examples, padded on the right."""

    tokens: Tensor
    """(examples, sequences, time) int64."""
    lengths: Tensor
    """(examples, sequences) int64: the real tokens of each."""
    targets: Tensor
    """As of `targets.task_loss`."""


@dataclass(frozen=True)
class Encoded:
    """A set, in the order of its files."""

    examples: Sequence[Example]
    sequences: list[list[Ids]]
    """The sequences of each example."""
    cut: int
    """Texts that lost their end."""
    gold: npt.NDArray[Any]
    """(examples,) int64 classes, or float64."""
    targets: Tensor

    @staticmethod
    def of(found: Sequence[Example], transformation: Transformation, targets: Targets) -> Encoded:
        """Encode examples. Raises DataError for a label or a text that does not fit, with file and row."""
        if transformation.kind == "multiple_choice":
            _require_answers(found, targets.outputs)
        gold = targets.gold(found)  # before the texts, whose encoding takes its time
        encoded = [transformation(example) for example in found]
        sequences, cut = [each for each, _ in encoded], sum(cut for _, cut in encoded)
        return Encoded(found, sequences, cut, gold, targets.encode(gold))

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def lengths(self) -> list[int]:
        """The longest sequence of each example, in tokens."""
        return [max(map(len, each)) for each in self.sequences]

    @property
    def fingerprint(self) -> str:
        """xxh3_128 of all ids and labels."""
        digest = xxhash.xxh3_128(self.gold.tobytes())
        for sequences in self.sequences:
            for sequence in sequences:
                digest.update(np.array([*sequence, -1], np.int64).tobytes())
        return digest.hexdigest()

    def tokens(self, chosen: Sequence[int]) -> int:
        """Real tokens of some examples."""
        return sum(len(sequence) for index in chosen for sequence in self.sequences[index])

    def batch(self, chosen: Sequence[int], time: int, device: str) -> Batch:
        """Some examples, each sequence padded to `time` tokens, on a device."""
        rows = [self.sequences[index] for index in chosen]
        tokens = np.zeros((len(rows), len(rows[0]), time), np.int64)
        for padded, sequences in zip(tokens, rows, strict=True):
            for line, sequence in zip(padded, sequences, strict=True):
                line[: len(sequence)] = sequence
        lengths = torch.tensor([[len(sequence) for sequence in sequences] for sequences in rows])
        made = torch.from_numpy(tokens), lengths, self.targets[list(chosen)]
        return Batch(*(tensor.to(device) for tensor in made))


def _require_answers(found: Sequence[Example], answers: int) -> None:
    """Raise DataError that names a question with another number of answers than those of the training set."""
    for example in found:
        if (here := len(example.texts) - 1) != answers:
            raise DataError(
                f"{example.where}: has {here} answers, and the training set {answers}: give the same number"
            )


def read(path: Path, settings: Finetune) -> list[Example]:
    """Read a set as the settings describe its columns. Raises DataError with file and row."""
    graded = settings.target != "classes"
    return examples.read(path, settings.kind, settings.columns, settings.header, graded, settings.leave_out)
