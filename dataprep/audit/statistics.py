"""What a corpus looks like: counts for the pictures of its report, over the documents that were kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from dataprep.audit.funnel import judged
from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.crawl import rounds
from dataprep.selection import kept
from dataprep.selection.verdicts import REPEAT_REASONS
from dataprep.store.records import Record, load_step, step_path

Bins = list[tuple[int, int]]
"""(smallest value, how many) of bins that double: 0, 1, 2 to 3, 4 to 7 ..."""


@dataclass(frozen=True)
class Growth:
    """What one increment brought. losses: verdicts other than kept; duplicates are those of dedup."""

    increment: str
    documents: int
    kept: int
    characters: int
    losses: dict[str, int]

    @property
    def duplicates(self) -> dict[str, int]:
        """The losses by repetition."""
        return {reason: self.losses[reason] for reason in REPEAT_REASONS if reason in self.losses}


@dataclass(frozen=True)
class CorpusStatistics:
    """Counts of kept documents of the current build; outcomes are those of all links."""

    languages: dict[str, int] = field(default_factory=dict)
    words: Bins = field(default_factory=list)
    karma: Bins = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    growth: list[Growth] = field(default_factory=list)


def corpus_statistics(corpus: Corpus, build: Build | None = None) -> CorpusStatistics:
    """Measure a build, by default the current one. Memory: some numbers a document of one increment."""
    languages, words, karma = Counter[str](), Counter[int](), Counter[int]()
    growth = []
    for scope in judged(corpus, build or corpus.build):
        increment, rows = scope.increment, kept.kept_rows(scope)
        scores = increment.outputs("score", "scores")
        measured = kept.taken(corpus.root, scores, rows, ["language", "words", "characters"])
        about = kept.taken(corpus.root, increment.outputs("extract", "documents"), rows, ["karma"])
        languages.update(code or "unknown" for code in measured["language"].to_pylist())
        words += _binned(measured["words"])
        karma += _binned(about["karma"].drop_null())
        characters = int(pa.compute.sum(measured["characters"]).as_py() or 0)
        growth.append(_growth(increment, scope.build.parts("verdicts", increment), characters))
    outcomes = rounds.outcomes(corpus, corpus.increments())
    return CorpusStatistics(
        dict(languages.most_common()), sorted(words.items()), sorted(karma.items()), dict(outcomes), growth
    )


def versions_of(corpus: Corpus, build: Build | None) -> dict[str, set[str]]:
    """The versions of code and libraries that decided the content, as the finished steps name them."""
    places = [
        place
        for increment in corpus.increments()
        for place in (increment.path, build and build.of(increment))
    ]
    found: dict[str, set[str]] = {}
    for path in (path for place in places if place for path in place.glob(step_path(place, "*").name)):
        for name, version in (item for part in load_step(path).parts for item in part.versions.items()):
            found.setdefault(name, set()).add(version)
    return found


def _growth(increment: Increment, verdicts: list[Record], characters: int) -> Growth:
    losses = sum((Counter(part.reasons) for part in verdicts), Counter[str]())
    return Growth(
        increment=increment.path.name,
        documents=sum(part.entered for part in verdicts),
        kept=sum(part.passed for part in verdicts),
        characters=characters,
        losses=dict(sorted(losses.items())),
    )


def _binned(values: pa.ChunkedArray) -> Counter[int]:
    """Numbers by the power of two below them; what is below 1 is 0.

    >>> sorted(_binned(pa.chunked_array([[0, 1, 2, 3, 4, 7, 8]])).items())
    [(0, 1), (1, 1), (2, 2), (4, 2), (8, 1)]
    """
    numbers = np.maximum(np.asarray(values.to_numpy(), np.int64), 0)
    floors = np.where(numbers > 0, 1 << np.log2(np.maximum(numbers, 1)).astype(np.int64), 0)
    return Counter(
        dict(zip(*(column.tolist() for column in np.unique(floors, return_counts=True)), strict=True))
    )
