"""Measures: each is a function of sums over documents.

A document adds a few numbers to each measure (`Document.values`), and the measure is computed from their
sums. So a resample of the documents is a matrix product, for accuracy and BLEU alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]
"""(..., numbers of the measure) float64."""


@dataclass(frozen=True)
class Measure:
    """value: (..., k) sums -> (...). proportion: whether it is a share of documents, so that Wilson's
    interval holds."""

    value: Callable[[Sums], npt.NDArray[np.float64]]
    higher_is_better: bool = True
    proportion: bool = False


def _mean(sums: Sums) -> npt.NDArray[np.float64]:
    """Of [sum of the values; documents] or of anything else by its unit."""
    return sums[..., 0] / sums[..., 1]


def _perplexity(sums: Sums) -> npt.NDArray[np.float64]:
    return np.exp(_mean(sums))


def _ratio(above: Sums, below: Sums) -> npt.NDArray[np.float64]:
    """0 where nothing is below."""
    return np.asarray(np.divide(above, below, out=np.zeros_like(below), where=below > 0))


def _f1(sums: Sums) -> npt.NDArray[np.float64]:
    """Of [true positives, false positives, false negatives] a class, averaged over the classes; a class that
    neither occurs nor is named has 0, as in scikit-learn."""
    right, extra, missed = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    there = 2 * right + extra + missed
    return np.asarray(_ratio(2 * right, there).mean(axis=-1))


def _matthews(sums: Sums) -> npt.NDArray[np.float64]:
    """Of [true positives, true negatives, false positives, false negatives]; 0 where it is undefined."""
    tp, tn, fp, fn = np.moveaxis(sums, -1, 0)
    below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return _ratio(tp * tn - fp * fn, below)


def _calibration_error(sums: Sums) -> npt.NDArray[np.float64]:
    """Expected calibration error of [questions, confidence, right] a bin (`calibration.py`)."""
    questions, confidence, right = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    return np.asarray(np.abs(right - confidence).sum(axis=-1) / questions.sum(axis=-1))


MEASURES: dict[str, Measure] = {
    # [1 if right, else 0; 1]
    "acc": Measure(_mean, proportion=True),
    # [nats; units: words, or tokens of the original]
    "perplexity": Measure(_perplexity, higher_is_better=False),
    # [bits; bytes or characters]
    "bits_per_byte": Measure(_mean, higher_is_better=False),
    # as acc, with the choices' scores divided by their characters or bytes, or less their score without a
    # context: lm-eval's
    "acc_norm": Measure(_mean, proportion=True),
    "acc_bytes": Measure(_mean, proportion=True),
    "acc_mutual_info": Measure(_mean, proportion=True),
    # [1 if the answer is right to the letter, else 0; 1]; MultiRC's em has its 1 at one answer of a question
    "exact_match": Measure(_mean, proportion=True),
    "em": Measure(_mean, proportion=True),
    # [F1 of the answer's words; 1]
    "f1": Measure(_mean),
    # [true positives, false positives, false negatives]; f1_macro: these three for each class
    "f1_binary": Measure(_f1),
    "f1_macro": Measure(_f1),
    # [true positives, true negatives, false positives, false negatives]
    "mcc": Measure(_matthews),
    # [nats; words] and [nats; bytes], as lm-eval counts them
    "word_perplexity": Measure(_perplexity, higher_is_better=False),
    "byte_perplexity": Measure(_perplexity, higher_is_better=False),
    # [squared distance of the choices' probabilities from the right one; 1]
    "brier_score": Measure(_mean, higher_is_better=False),
    # [1 if several choices have the best score, else 0; 1]
    "ties": Measure(_mean, higher_is_better=False, proportion=True),
    # [questions, confidence, right] for each bin of confidence
    "ece": Measure(_calibration_error, higher_is_better=False),
}
