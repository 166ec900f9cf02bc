"""lm-eval's metrics as measures: those that are functions of sums, and the numbers that a document adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.eval.measures import MEASURES, Measure
from pipeline.eval.text_metrics import bleu_sums

_OF_THE_METRIC = {
    *("mean", "nanmean", "perplexity", "weighted_perplexity", "bits_per_byte", "brier_score", "bleu"),
}
"""lm-eval's aggregations that are functions of sums over documents; the measure has the metric's name."""

_OF_ITS_OWN = {"f1_score": "f1_binary", "cb_multi_fi": "f1_macro", "matthews_corrcoef": "mcc"}
"""Other such aggregations, each with the name of its measure."""


def as_sums(metric: str, aggregation: str) -> str | None:
    """The measure that equals one of lm-eval's metrics; None where it is no function of sums.

    >>> as_sums("f1", "f1_score"), as_sums("acc", "mean"), as_sums("acc", "median")
    ('f1_binary', 'acc', None)
    """
    return metric if aggregation in _OF_THE_METRIC else _OF_ITS_OWN.get(aggregation)


def numbers(metric: str, aggregation: str, value: Any) -> tuple[str, list[float]] | None:
    """The measure that equals one of lm-eval's metrics, and a document's part of it.

    None where the metric is no function of sums over the documents.

    >>> numbers("perplexity", "perplexity", -2.5), numbers("f1", "f1_score", (1, 0))
    (('perplexity', [2.5, 1.0]), ('f1_binary', [0.0, 0.0, 1.0]))
    """
    measure = as_sums(metric, aggregation)
    if measure is None:
        return None
    match aggregation:
        case "perplexity":
            return measure, [-float(value), 1.0]
        case "weighted_perplexity":
            return measure, [-float(value[0]), float(value[1])]
        case "bits_per_byte":
            return measure, [-float(value[0]) / math.log(2), float(value[1])]
        case "bleu":
            return measure, bleu_sums(value[1], value[0])
        case "f1_score":
            return measure, confusion(value[0], value[1], [1])
        case "cb_multi_fi":
            return measure, confusion(value[0], value[1], [0, 1, 2])
        case "matthews_corrcoef":
            tp, fp, fn = confusion(value[0], value[1], [1])
            return measure, [tp, 1 - tp - fp - fn, fp, fn]
        case "brier_score":
            gold, shares = value
            return measure, [float(sum((share - (i == gold)) ** 2 for i, share in enumerate(shares))), 1.0]
        case "nanmean" if math.isnan(value):
            return measure, [0.0, 0.0]
        case _ if isinstance(value, tuple | list):
            return None
    return measure, [float(value), 1.0]


def confusion(gold: int, named: int, classes: Sequence[int]) -> list[float]:
    """True positives, false positives and false negatives of each class, for one document.

    >>> confusion(0, 2, [0, 1, 2])
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    return [
        float(each)
        for label in classes
        for each in (gold == named == label, named == label != gold, gold == label != named)
    ]


def register(measure: str, *, higher_is_better: bool) -> None:
    """Add a metric that only a task file has to the measures: the mean over the documents.

    METRIC,FILTER is measured as METRIC.
    """
    same = MEASURES.get(measure.partition(",")[0])
    MEASURES.setdefault(measure, same or Measure(MEASURES["f1"].value, higher_is_better=higher_is_better))
