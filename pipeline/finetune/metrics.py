"""The measures of GLUE (Wang et al. 2018), in numpy: of classes by their numbers, and of grades.

The tests compare them with scikit-learn's and scipy's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def accuracy(gold: Array, predicted: Array) -> float:
    """Share of equal classes."""
    return float(np.mean(gold == predicted))


def f1(gold: Array, predicted: Array, classes: int = 2) -> float:
    """F1 of class 1 where there are the classes 0 and 1, as in MRPC and QQP; else the mean of the classes'.

    A class that is neither there nor predicted has no part in the mean.

    >>> f1(np.array([0, 1, 1]), np.array([1, 1, 1]))
    0.8
    >>> f1(np.array([0, 1, 1]), np.array([1, 1, 1]), classes=3)
    0.4
    """
    table = confusion(gold, predicted, classes)
    both = table.sum(axis=0) + table.sum(axis=1)
    each = 2 * np.diag(table) / np.maximum(both, 1)
    return float(each[1] if len(table) == 2 else each[both > 0].mean())


def matthews(gold: Array, predicted: Array) -> float:
    """Matthews correlation, of any number of classes (Gorodkin 2004); 0 where all are of one class."""
    table = confusion(gold, predicted).astype(float)
    true, guessed, n = table.sum(axis=1), table.sum(axis=0), table.sum()
    spreads = (n * n - true @ true) * (n * n - guessed @ guessed)
    return float((n * np.trace(table) - true @ guessed) / np.sqrt(spreads)) if spreads else 0.0


def pearson(gold: Array, predicted: Array) -> float:
    """Pearson's correlation; 0 where all values of a side are equal, for which scipy has no number."""
    centred = [side - side.mean() for side in (gold.astype(float), predicted.astype(float))]
    if any((side == side[0]).all() for side in (gold, predicted)):
        return 0.0
    first, second = (side / np.linalg.norm(side) for side in centred)
    return float(np.clip(first @ second, -1, 1))


def spearman(gold: Array, predicted: Array) -> float:
    """Spearman's correlation: Pearson's of the ranks, where equal values share the mean of their ranks."""
    return pearson(_ranks(gold), _ranks(predicted))


OF_CLASSES: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
}
OF_GRADES: dict[str, Callable[[Array, Array], float]] = {"pearson": pearson, "spearman": spearman}
METRICS = OF_CLASSES | OF_GRADES
"""(gold, predicted) -> score, of arrays of equal length: numbers of classes, or grades. More is better."""


def score(measure: str, gold: Array, predicted: Array, classes: int) -> float:
    """The score of a measure, one of METRICS. classes: how many the task has; 0 for grades."""
    return f1(gold, predicted, classes) if measure == "f1" else METRICS[measure](gold, predicted)


def confusion(gold: Array, predicted: Array, classes: int = 2) -> npt.NDArray[np.int64]:
    """How often each class (row) got each prediction (column); (n, n), n at least `classes`."""
    n = max(classes, int(gold.max(initial=0)) + 1, int(predicted.max(initial=0)) + 1)
    return np.bincount(gold * n + predicted, minlength=n * n).reshape(n, n)


def _ranks(values: Array) -> npt.NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs.

    >>> _ranks(np.array([2.0, 7.0, 2.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
