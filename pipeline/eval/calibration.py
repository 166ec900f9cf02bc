"""From the scores of a question's choices: the best one, ties, and how sure the model was."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

BINS = 15
"""Number of bins, as in Guo et al. 2017 (On calibration of modern neural networks), section 4."""


def first_best(scores: Sequence[float]) -> int:
    """The choice of the highest score; the first of several.

    >>> first_best([-2.0, -1.0, -1.0])
    1
    """
    return int(np.argmax(np.asarray(scores, dtype=np.float64)))


def ties_and_calibration(scores: Sequence[float], gold: Collection[int]) -> dict[str, list[float]]:
    """One question's part of the measures `ties` and `ece`, from the choices' scores in nats.

    Scores that are divided by tokens, or less an unconditional one, are no log-likelihoods. So `ece` compares
    models by one rule, but not rules.

    `ece` has three numbers for each of the BINS of confidence: questions, their confidence, and how many of
    them are right. The confidence is the highest probability after a softmax over the choices.

    >>> each = ties_and_calibration([0.0, 0.0], {1})
    >>> each["ties"], each["ece"][21:24]
    ([1.0, 1.0], [1.0, 0.5, 0.0])
    """
    given = np.asarray(scores, dtype=np.float64)
    best = given.max()
    confidence = float(1 / np.exp(given - best).sum())
    bins = np.zeros((BINS, 3))
    bins[min(int(confidence * BINS), BINS - 1)] = 1, confidence, first_best(scores) in gold
    return {"ties": [float((given == best).sum() > 1), 1.0], "ece": bins.ravel().tolist()}
