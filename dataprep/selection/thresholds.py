"""Step `select`: thresholds over measurements. The first rule that fails names the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.corpus.recipe import C4, FineWeb, Gopher, Section, Select
from dataprep.errors import DataError
from dataprep.selection.pareto import keeps

KEPT = "kept"
SECTIONS: dict[str, type[Section]] = {"gopher": Gopher, "c4": C4, "fineweb": FineWeb}


def _bounds(section: type[Section]) -> list[str]:
    """The fields of a section that bound a measurement."""
    return [name for name in section.model_fields if name.startswith(("min_", "max_"))]


REASONS = (
    "languages",
    *_bounds(Select),
    *(f"{name}.{bound}" for name, section in SECTIONS.items() for bound in _bounds(section)),
    "quality.alpha",
)
"""The verdicts of this step, in the order of the rules; each is the rule's name in the recipe."""

Mask = npt.NDArray[np.bool_]
Measured = npt.NDArray[np.float64]


def apply(scores: pa.Table, rules: Select) -> tuple[list[str], list[float | None]]:
    """The verdict on each row of a table of `scores`, and the measurement that decided it."""
    verdicts = np.full(len(scores), KEPT, object)
    numbers = np.full(len(scores), np.nan)
    for reason, failed, measured in _rules(scores, rules):
        first = failed & (verdicts == KEPT)
        verdicts[first], numbers[first] = reason, measured[first]
    return verdicts.tolist(), [None if number != number else number for number in numbers.tolist()]


def threshold_of(rules: Select, verdict: str) -> Any:
    """The value in a recipe that decided a verdict; None where none did: of exact copies, say.

    >>> rules = Select(min_words=50, gopher=Gopher())
    >>> [threshold_of(rules, verdict) for verdict in ("min_words", "gopher.max_hashes", "near_duplicate")]
    [50, 0.1, 0.8]
    >>> threshold_of(rules, "exact_duplicate")
    """
    if verdict == "near_duplicate":
        return rules.near_duplicates and rules.near_duplicates.threshold
    value: Any = rules
    for name in verdict.split("."):
        value = getattr(value, name, None)
    return sorted(value) if isinstance(value, frozenset) else value if verdict in REASONS else None


def _rules(scores: pa.Table, rules: Select) -> Iterator[tuple[str, Mask, Measured]]:
    """Each rule's name, the rows that fail it, and what it measured."""
    if rules.languages is not None:
        known = pc.is_in(scores["language"], value_set=pa.array(sorted(rules.languages), pa.string()))
        yield "languages", ~known.to_numpy(), scores["language_probability"].to_numpy()
    for reason, column, threshold in bounds(rules):
        measured = scores[column].to_numpy().astype(np.float64)
        failed = measured < threshold if _is_least(reason) else measured > threshold
        yield reason, failed, measured
    if rules.quality is not None:
        if scores["quality"].null_count:
            raise DataError(
                "select.quality: the documents have no quality; make the corpus with a model, "
                "`outbound corpus init --quality MODEL`, which `corpus train-quality` makes"
            )
        quality = scores["quality"].to_numpy().astype(np.float64)
        yield "quality.alpha", ~keeps(scores["doc_id"].to_pylist(), quality, rules.quality.alpha), quality


def bounds(rules: Select) -> Iterator[tuple[str, str, float]]:
    """The rules `min_X` and `max_X` in force, in their order: the rule's name, the column of `score` that it
    bounds, and the bound.

    >>> list(bounds(Select(min_words=50, c4=C4(terminal_punctuation=False)))) == [
    ...     ("min_words", "words", 50),
    ...     ("c4.max_lorem_ipsum", "c4_any_end_lorem_ipsum", 0),
    ...     ("c4.max_curly_brackets", "c4_any_end_curly_brackets", 0),
    ...     ("c4.min_sentences", "c4_any_end_sentences", 5),
    ... ]
    True
    """
    sections: list[tuple[str, str, Section]] = [("", "", rules)]
    for name in SECTIONS:
        if (section := getattr(rules, name)) is not None:
            loose = isinstance(section, C4) and not section.terminal_punctuation
            sections.append((f"{name}.", "c4_any_end_" if loose else f"{name}_", section))
    for reason, column, section in sections:
        for bound in _bounds(type(section)):
            if (threshold := getattr(section, bound)) is not None:
                yield reason + bound, column + bound[4:], threshold


def _is_least(reason: str) -> bool:
    """Whether a rule bounds from below."""
    return reason.rpartition(".")[2].startswith("min_")
