"""What a model predicts of a set, as a table between tabs: file, row, gold, predicted, probability.

gold and predicted are labels, or grades. probability is that of the predicted label; grades have none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.store import files
from pipeline.errors import RunError
from pipeline.finetune.examples import Example

COLUMNS = ("file", "row", "gold", "predicted", "probability")


def path_of(seed: Path, part: str) -> Path:
    """The file of predictions of a part (dev, test) in the directory of a seed."""
    return seed / f"predictions-{part}.tsv"


def write_predictions(
    path: Path,
    examples: Sequence[Example],
    predicted: Sequence[str] | Sequence[float],
    probabilities: npt.NDArray[np.float64] | None = None,
) -> None:
    """Write the predictions whole over those that stand.

    predicted: a label or grade an example. probabilities: (examples, classes), or None.
    """
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(COLUMNS)
    sure = [f"{each:.6f}" for each in probabilities.max(axis=1)] if probabilities is not None else None
    for number, (example, guess) in enumerate(zip(examples, predicted, strict=True)):
        where = [example.file, example.row]
        table.writerow([*where, example.label, guess, sure[number] if sure else ""])
    files.replace(path, text.getvalue().encode())


def read_predictions(path: Path) -> tuple[list[str], list[str]]:
    """Gold and predicted labels, or grades as they are printed. Raises RunError for a damaged file."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, delimiter="\t", strict=True)
        if tuple(header) != COLUMNS:
            raise ValueError(f"its columns are {header}")
        _, _, gold, predicted, _ = zip(*rows, strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: are no predictions ({error}); remove it, and run again") from None
    return list(gold), list(predicted)


def as_numbers(values: Sequence[str], labels: Sequence[str]) -> npt.NDArray[Any]:
    """Labels as the numbers of their classes, or without classes as grades; (values,) int64 or float64."""
    if not labels:
        return np.array(values, dtype=np.float64)
    number = {label: index for index, label in enumerate(labels)}
    return np.array([number[value] for value in values])
