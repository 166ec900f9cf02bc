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
    """From [sum; units]: mostly the values and the number of documents."""
    return sums[..., 0] / sums[..., 1]


def _perplexity(sums: Sums) -> npt.NDArray[np.float64]:
    return np.exp(_mean(sums))


def _ratio(above: Sums, below: Sums) -> npt.NDArray[np.float64]:
    """above / below; 0 where below is 0."""
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


def _bleu(sums: Sums) -> npt.NDArray[np.float64]:
    """BLEU of 0 to 100 from summed counts, as sacrebleu's corpus_bleu with its defaults.

    sums: (..., 10): length written, length of the reference, n-grams that agree for n = 1 to 4, n-grams
    written for n = 1 to 4. The k-th n without any that agree counts as 1 / 2^k n-grams (smoothing "exp" of
    mteval-v13a.pl). It is 0 where no word agrees, or the texts are too short for a 4-gram.
    """
    written, reference, correct, total = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    none = correct == 0
    smoothed = np.where(none, 0.5 ** np.cumsum(none, axis=-1), correct)
    brevity = np.exp(np.minimum(0, 1 - reference / np.maximum(written, 1)))
    precisions = np.mean(np.log(smoothed / np.maximum(total, 1)), axis=-1)
    scored = correct.any(axis=-1) & total.all(axis=-1)
    return np.asarray(np.where(scored, 100 * brevity * np.exp(precisions), 0))


MEASURES: dict[str, Measure] = {
    # [1 if right, else 0; 1]
    "acc": Measure(_mean, proportion=True),
    # [nats; units: words, or tokens of the original]
    "perplexity": Measure(_perplexity, higher_is_better=False),
    # [bits; bytes or characters]
    "bits_per_byte": Measure(_mean, higher_is_better=False),
    # [1 if it is an answer once both are normalised, else 0; 1]; MultiRC's: once a question, [0; 0] elsewhere
    "em": Measure(_mean, proportion=True),
    # [F1 of words; 1], or [0; 0] for a question that the set's own rule leaves out
    "f1": Measure(_mean),
    # `text_metrics.bleu_sums`
    "bleu": Measure(_bleu),
    # [F1 of n-grams or of the longest common subsequence; 1]: of the model, and of an article's first three
    # sentences and of three random ones
    **{f"rouge{n}{of}": Measure(_mean) for of in ("", "_lead3", "_random3") for n in ("1", "2", "L", "Lsum")},
    # [1 if right with the stop-word filter, else 0; 1]
    "acc_filtered": Measure(_mean, proportion=True),
    # [lines that stay tokenised, because their tokens would not follow from a text; lines]
    "lines_as_they_stand": Measure(_mean, higher_is_better=False),
    # of an occupation: [1 if words for men are likelier, else 0; 1] and [ln P(female) / P(male); 1]; neither
    # end is good
    "male_leaning": Measure(_mean, higher_is_better=False, proportion=True),
    "female_log_ratio": Measure(_mean),
    # as acc, with the choices' scores divided by their characters or bytes, or less their score without a
    # context: lm-eval's
    "acc_norm": Measure(_mean, proportion=True),
    "acc_bytes": Measure(_mean, proportion=True),
    "acc_mutual_info": Measure(_mean, proportion=True),
    # [1 if the answer is right to the letter, else 0; 1]
    "exact_match": Measure(_mean, proportion=True),
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
