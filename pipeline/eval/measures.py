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


MEASURES: dict[str, Measure] = {
    # [1 if right, else 0; 1]
    "acc": Measure(_mean, proportion=True),
    # [nats; units: words, or tokens of the original]
    "perplexity": Measure(lambda sums: np.exp(_mean(sums)), higher_is_better=False),
    # [bits; bytes or characters]
    "bits_per_byte": Measure(_mean, higher_is_better=False),
    # [1 if right with the stop-word filter, else 0; 1]
    "acc_filtered": Measure(_mean, proportion=True),
    # [lines that no de-tokenizer undoes; lines]
    "lines_as_they_stand": Measure(_mean, higher_is_better=False),
    # of an occupation: [1 if words for men are likelier, else 0; 1] and [ln P(female) / P(male); 1]; neither
    # end is good
    "male_leaning": Measure(_mean, higher_is_better=False, proportion=True),
    "female_log_ratio": Measure(_mean),
}
