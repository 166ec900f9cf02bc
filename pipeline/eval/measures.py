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
    return sums[..., 0] / sums[..., 1]


CALIBRATION_BINS = 10


def calibration(confidence: float, right: bool) -> list[float]:
    """What a document adds to `calibration_error`: its bin's [documents, confidence, right], all others 0.

    confidence: the probability that the model gives its answer among the choices.
    """
    numbers = [0.0] * (3 * CALIBRATION_BINS)
    first = 3 * min(int(confidence * CALIBRATION_BINS), CALIBRATION_BINS - 1)
    numbers[first : first + 3] = [1.0, confidence, float(right)]
    return numbers


def _calibration_error(sums: Sums) -> npt.NDArray[np.float64]:
    """Mean distance of confidence and accuracy over bins of confidence (Guo et al. 2017, equation 3)."""
    documents, confidence, right = (sums[..., each::3] for each in range(3))
    return np.asarray(np.abs(confidence - right).sum(axis=-1) / documents.sum(axis=-1))


MEASURES: dict[str, Measure] = {
    # [1 if right, else 0; 1]
    "acc": Measure(_mean, proportion=True),
    # [nats; units: words, or tokens of the original]
    "perplexity": Measure(lambda sums: np.exp(_mean(sums)), higher_is_better=False),
    # [bits; bytes or characters]
    "bits_per_byte": Measure(_mean, higher_is_better=False),
    # [1 if the best choices have equal scores, else 0; 1]
    "ties": Measure(_mean, higher_is_better=False, proportion=True),
    # calibration()
    "calibration_error": Measure(_calibration_error, higher_is_better=False),
}
