"""Logistic regression over hashed tokens, by AdaGrad: the same samples give the same model.

Both sides weigh the same, however many samples each has, so that 0.5 is neutral. A tenth of the
samples, chosen by the hash of their text, is held out and measures the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.errors import DataError
from dataprep.score.quality.features import BUCKETS, Features, features, logits

HELD_OUT = 10
"""One sample of so many is held out."""
EPOCHS = 10
BATCH = 128
RATE = 1.0
DECAY = 1e-6
"""Weight of the squared weights in the loss; keeps rare tokens modest."""


@dataclass(frozen=True)
class Sample:
    """A text as features; `key` is its xxh3_64, which decides its order and whether it is held out."""

    key: int
    features: Features


@dataclass(frozen=True)
class Trained:
    """Weights (BUCKETS,) float32 and bias of the log odds, and what was measured on the held-out samples."""

    weights: npt.NDArray[np.float32]
    bias: float
    trained_on: tuple[int, int]
    held_out: tuple[int, int]
    accuracy: float
    auc: float


def sample(text: str) -> Sample:
    """A text as a sample."""
    return Sample(xxhash.xxh3_64_intdigest(text.encode("utf-8", "replace")), features(text))


def train(good: Sequence[Sample], bad: Sequence[Sample], tick: Callable[[int], None]) -> Trained:
    """Fit the classifier; `tick` counts epochs. Raises DataError when a side has too few samples.

    A text that is on both sides is left out of both.
    """
    common = {sample.key for sample in good} & {sample.key for sample in bad}
    sides = [{sample.key: sample for sample in side if sample.key not in common} for side in (bad, good)]
    samples = [(sample, label) for label, side in enumerate(sides) for _, sample in sorted(side.items())]
    fit = [pair for pair in samples if pair[0].key % HELD_OUT]
    held = [pair for pair in samples if not pair[0].key % HELD_OUT]
    counts = [[sum(label == side for _, label in part) for side in (1, 0)] for part in (fit, held)]
    if not all(map(all, counts)):
        raise DataError(
            f"too few different samples to train and measure: {counts[0][0]} good and {counts[0][1]} bad to "
            f"train on, {counts[1][0]} good and {counts[1][1]} bad held out; give more documents"
        )
    weights, bias = _fit([sample.features for sample, _ in fit], np.array([label for _, label in fit]), tick)
    scores = logits([sample.features for sample, _ in held], weights, bias)
    labels = np.array([label for _, label in held])
    accuracy = float(np.mean((scores > 0) == labels))
    (trained_good, trained_bad), (held_good, held_bad) = counts
    return Trained(
        weights, bias, (trained_good, trained_bad), (held_good, held_bad), accuracy, auc(scores, labels)
    )


def _fit(
    batch: list[Features], labels: npt.NDArray[np.int64], tick: Callable[[int], None]
) -> tuple[npt.NDArray[np.float32], float]:
    weights, squares = np.zeros(BUCKETS, np.float32), np.full(BUCKETS, 1e-8, np.float32)
    bias, bias_square = 0.0, 1e-8
    share = np.bincount(labels, minlength=2) / len(labels)
    importance = 0.5 / share[labels]
    for epoch in range(EPOCHS):
        order = _shuffled(len(batch), epoch)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            chosen = [batch[row] for row in rows]
            error = importance[rows] * (_sigmoid(logits(chosen, weights, bias)) - labels[rows]) / len(rows)
            buckets = np.concatenate([text.buckets for text in chosen])
            terms = np.concatenate([text.weights * slope for text, slope in zip(chosen, error, strict=True)])
            touched, place = np.unique(buckets, return_inverse=True)
            gradient = np.bincount(place, terms).astype(np.float32) + DECAY * weights[touched]
            squares[touched] += gradient**2
            weights[touched] -= RATE * gradient / np.sqrt(squares[touched])
            slope = float(error.sum())
            bias_square += slope**2
            bias -= RATE * slope / bias_square**0.5
        tick(1)
    return weights, bias


def auc(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """How often a good sample scores above a bad one; equal scores count half (Mann and Whitney 1947).

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1]))
    0.875
    """
    bad = np.sort(scores[labels == 0])
    good = scores[labels == 1]
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(below.mean() / 2 / len(bad))


def _shuffled(count: int, epoch: int) -> npt.NDArray[np.int64]:
    """An order of `count` rows that depends on nothing but these two numbers, whatever numpy's version."""
    keys = [xxhash.xxh3_64_intdigest(row.to_bytes(8, "little"), epoch) for row in range(count)]
    return np.argsort(np.array(keys, np.uint64), kind="stable")


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-values))
