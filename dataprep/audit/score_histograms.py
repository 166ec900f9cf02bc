"""Histograms of what the thresholds bound: how many documents have which score, and where the bounds are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dataprep.audit.funnel import judged
from dataprep.corpus.directory import Build, Corpus
from dataprep.corpus.recipe import Select
from dataprep.selection.thresholds import bounds
from dataprep.store.files import read_table

COLUMNS = 40
"""Bins of a histogram that are equally wide."""
WIDE = 20
"""Bounds above this are of counts that span orders of magnitude: their bins double."""


@dataclass(frozen=True)
class ScoreHistogram:
    """The scores of all judged documents, kept and dropped, in one column of `score`.

    edges: (bins + 1,), ascending; the last bin also holds all that is above. counts: (bins,) documents.
    bounds: by rule.
    """

    column: str
    bounds: dict[str, float]
    edges: list[float]
    counts: list[int]


def score_histograms(corpus: Corpus, build: Build, rules: Select) -> list[ScoreHistogram]:
    """One for each column that some rule bounds, in the order of the rules.

    Memory: a column of the scores of one partition.
    """
    by_column: dict[str, dict[str, float]] = {}
    for rule, column, bound in bounds(rules):
        by_column.setdefault(column, {})[rule] = bound
    edges = {column: _edges(list(found.values())) for column, found in by_column.items()}
    counts = {column: np.zeros(len(edges[column]) - 1, np.int64) for column in by_column}
    for scope in judged(corpus, build) if by_column else []:
        for output in scope.increment.outputs("score", "scores"):
            table = read_table(corpus.root, [output], list(by_column))
            for column in by_column:
                values = table[column].drop_null().to_numpy().astype(np.float64)
                counts[column] += np.histogram(np.clip(values, *edges[column][[0, -1]]), edges[column])[0]
    return [
        ScoreHistogram(column, by_column[column], edges[column].tolist(), counts[column].tolist())
        for column in by_column
    ]


def _edges(found: list[float]) -> npt.NDArray[np.float64]:
    """The edges of the bins of a column with these bounds, from 0 to beyond the highest.

    >>> _edges([50, 100])[[0, 1, 2, 3, -1]].tolist(), _edges([0.3])[[0, 1, -1]].tolist()
    ([0.0, 1.0, 2.0, 4.0, 65536.0], [0.0, 0.025, 1.0])
    """
    highest = max(found)
    if highest > WIDE:
        powers = np.arange(max(int(np.ceil(np.log2(highest))) + 2, 17))
        return np.concatenate([[0.0], 2.0**powers])
    return np.linspace(0.0, 1.0 if highest <= 1 else 2.0 * highest, COLUMNS + 1)
