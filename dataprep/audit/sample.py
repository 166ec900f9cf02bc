"""`corpus sample`: random documents of a verdict, with the number that decided and the recipe's threshold.

One pass over the verdicts gives every document a random key, and the lowest keys of each verdict win. So one
pass serves any number of verdicts, and a seed draws the same documents of a build again.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from dataprep.audit.diff import CUT, verdicts_on
from dataprep.audit.funnel import judged
from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.corpus.tombstones import REASON
from dataprep.errors import DataError, UsageError
from dataprep.selection import kept
from dataprep.selection.exclude import select_of
from dataprep.selection.thresholds import KEPT, threshold_of

DROPPED = "dropped"
"""Stands for every verdict by which a document is not kept."""
ABOUT = ["doc_id", "url", "title", "date", "karma", "text"]
MEASURED = ["language", "words", "characters"]


class Drawn(NamedTuple):
    """A document that was drawn, and where it stands."""

    key: float
    increment: Increment
    part: int
    row: int
    verdict: str
    number: float | None


@dataclass(frozen=True)
class Draw:
    """How many documents have each verdict, and some that were drawn of them, in random order."""

    counts: Counter[str] = field(default_factory=Counter)
    drawn: dict[str, list[Drawn]] = field(default_factory=dict)

    def of(self, verdict: str, number: int) -> list[Drawn]:
        """Those of a verdict, of `kept` (whole or cut), or of DROPPED.

        Raises UsageError, which lists the verdicts there are, when no document has it.
        """
        if not (named := self._named(verdict)):
            there = ", ".join(f"{name} ({count:,})" for name, count in self.counts.most_common())
            raise UsageError(f"--verdict {verdict}: no document has it; there are: {there or 'none'}")
        return heapq.nsmallest(number, (each for name in named for each in self.drawn[name]))

    def count(self, verdict: str) -> int:
        """How many documents have a verdict, are `kept`, or are DROPPED."""
        return sum(self.counts[name] for name in self._named(verdict))

    def _named(self, verdict: str) -> list[str]:
        stays = (KEPT, CUT)
        if verdict == DROPPED:
            return [name for name in self.counts if name not in stays]
        return [name for name in self.counts if name == verdict or (verdict == KEPT and name in stays)]


def draw(corpus: Corpus, build: Build, number: int, seed: int) -> Draw:
    """Draw up to `number` documents of each verdict of a build, each document alike.

    Memory: the verdicts of one increment, about 100 bytes a document.
    """
    found, random = Draw(), np.random.default_rng(seed)
    for scope in judged(corpus, build):
        table = verdicts_on(corpus, build, scope.increment)
        assert table is not None  # it is judged
        keys = random.random(len(table))
        for verdict in pc.unique(table["verdict"]).to_pylist():
            rows = np.flatnonzero(pc.equal(table["verdict"], verdict).to_numpy())
            found.counts[verdict] += len(rows)
            rows = rows[np.argsort(keys[rows])[:number]]
            places = table.select(["part", "row", "number"]).take(rows).to_pylist()
            here = [
                Drawn(float(key), scope.increment, place["part"], place["row"], verdict, place["number"])
                for key, place in zip(keys[rows], places, strict=True)
            ]
            before = found.drawn.get(verdict, [])
            found.drawn[verdict] = heapq.nsmallest(number, [*before, *here])
    return found


def described(corpus: Corpus, build: Build, drawn: Iterable[Drawn]) -> Iterator[dict[str, Any]]:
    """What is known of documents, with their texts, in their order; `threshold`: None where it is unknown.

    The text of a forgotten document is empty. Memory: one text.
    """
    rules = select_of(corpus, build)
    for each in drawn:
        about = _row(corpus, each, "extract", "documents", ABOUT)
        measured = _row(corpus, each, "score", "scores", MEASURED)
        yield {
            "doc_id": about["doc_id"].hex(),
            "increment": each.increment.path.name,
            "verdict": each.verdict,
            "number": each.number,
            "threshold": threshold_of(rules, each.verdict) if rules else None,
            **{name: about[name] for name in ABOUT[1:-1]},
            **measured,
            "text": about["text"] or "",
        }


def samples(corpus: Corpus, number: int, seed: int, verdicts: int) -> dict[str, list[dict[str, Any]]]:
    """Some documents of the most frequent verdicts of the current build, `kept` first; none without one."""
    if (build := corpus.build) is None:
        return {}
    found = draw(corpus, build, number, seed)
    others = [name for name, _ in found.counts.most_common() if name not in (KEPT, CUT, REASON)]
    named = [KEPT] * bool(found.count(KEPT)) + others[: verdicts - 1]
    return {name: [*described(corpus, build, found.of(name, number))] for name in named}


def decided(document: dict[str, Any]) -> str:
    """The verdict on a document that was `described`, the number that decided, and the recipe's threshold.

    >>> decided({"verdict": "min_words", "number": 12.0, "threshold": 50})
    'min_words: 12 (recipe: 50)'
    >>> decided({"verdict": "languages", "number": 0.98765, "threshold": ["de", "en"]})
    'languages: 0.9877 (recipe: de, en)'
    >>> decided({"verdict": "kept", "number": None, "threshold": None})
    'kept'
    """
    number, threshold = document["number"], document["threshold"]
    bound = ", ".join(threshold) if isinstance(threshold, list) else threshold
    text = str(document["verdict"]) + ("" if number is None else f": {number:.4g}")
    return text if threshold is None else f"{text} (recipe: {bound})"


def excerpt(text: str, characters: int | None = None) -> str:
    """The beginning of a text, up to a word's end, without what would control a terminal.

    >>> excerpt("a \\x1b[31mred page", 12), excerpt("short", 8)
    ('a  [31mred …', 'short')
    """
    if characters is not None and len(text) > characters:
        text = text[:characters].rsplit(" ", 1)[0] + " …"
    return "".join(each if each.isprintable() or each == "\n" else " " for each in text)


def sample(corpus: Corpus, verdict: str, number: int, seed: int) -> tuple[int, list[dict[str, Any]]]:
    """How many documents have a verdict of the current build, and some of them, drawn.

    Raises UsageError for a verdict that no document has, DataError when there is no build.
    """
    build = corpus.current_build()
    found = draw(corpus, build, number, seed)
    chosen = found.of(verdict, number)
    return found.count(verdict), [*described(corpus, build, chosen)]


def _row(corpus: Corpus, drawn: Drawn, step: str, output: str, columns: list[str]) -> dict[str, Any]:
    """A row of the part of a step that belongs to a document."""
    path = corpus.root / drawn.increment.outputs(step, output)[drawn.part].path
    for batch in kept.chosen(path, np.array([drawn.row]), columns):
        (row,) = batch.to_pylist()
        return dict(row)
    raise DataError(f"{path}: has no row {drawn.row}; restore it from a copy")
