"""Step `select`: thresholds over measurements. The first rule that fails names the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dataprep.recipe import Select

KEPT = "kept"
REASONS = (
    "language",
    "too_few_words",
    "too_many_words",
    "word_length",
    "not_alphabetic",
    "stop_words",
    "duplicate_lines",
)
"""The verdicts of this step, in the order of the rules."""


def judge(row: Mapping[str, Any], rules: Select) -> tuple[str, float | None]:
    """The verdict on one row of `scores` and the measurement that decided it."""
    for verdict, failed, measured in _rules(row, rules):
        if failed:
            return verdict, measured
    return KEPT, None


def _rules(row: Mapping[str, Any], rules: Select) -> Iterator[tuple[str, bool, float | None]]:
    words, length = row["words"], row["mean_word_length"]
    yield "language", rules.languages is not None and row["language"] not in rules.languages, None
    yield "too_few_words", words < rules.min_words, words
    yield "too_many_words", rules.max_words is not None and words > rules.max_words, words
    if rules.mean_word_length:
        low, high = rules.mean_word_length
        yield "word_length", not low <= length <= high, length
    yield "not_alphabetic", row["alphabetic"] < rules.min_alphabetic, row["alphabetic"]
    yield "stop_words", row["stop_words"] < rules.min_stop_words, row["stop_words"]
    yield "duplicate_lines", row["duplicate_lines"] > rules.max_duplicate_lines, row["duplicate_lines"]
