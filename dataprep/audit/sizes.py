"""How much text a corpus keeps: documents, words, characters and tokens, in all, by site, month and language.

What decontamination has cut out of a document does not count. (Texts are measured before they are masked.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.audit.funnel import judged
from dataprep.corpus.directory import Corpus, Decisions
from dataprep.pack.manifest import Generation
from dataprep.pack.positions import lengths
from dataprep.selection import kept
from dataprep.shards.stage import written

SIDES = {"site": "site", "month": "first_seen", "language": "language"}
"""Each side from which the sizes may be seen, and the column that it is made of."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Size:
    """How much text some documents have.

    words: as white space separates them. tokens: with an end-of-text a document, of those that are packed;
    None where no token shards are given.
    """

    documents: int = 0
    words: int = 0
    characters: int = 0
    tokens: int | None = None
    packed: int | None = None

    def __str__(self) -> str:
        """In words for people.

        >>> print(Size(2, 1000, 5000, tokens=1200, packed=2))
        2 documents, 1,000 words, 5,000 characters, 1,200 tokens
        >>> print(Size(2, 1000, 5000, tokens=700, packed=1))
        2 documents, 1,000 words, 5,000 characters, 700 tokens of 1 packed documents
        """
        text = f"{self.documents:,} documents, {self.words:,} words, {self.characters:,} characters"
        if self.tokens is None:
            return text
        of = "" if self.packed == self.documents else f" of {self.packed:,} packed documents"
        return f"{text}, {self.tokens:,} tokens{of}"

    def plus(self, other: Size) -> Size:
        """The size of both together."""
        known = self.tokens is not None or other.tokens is not None
        return Size(
            documents=self.documents + other.documents,
            words=self.words + other.words,
            characters=self.characters + other.characters,
            tokens=(self.tokens or 0) + (other.tokens or 0) if known else None,
            packed=(self.packed or 0) + (other.packed or 0) if known else None,
        )


@dataclass(frozen=True)
class Sizes:
    """Those of the kept documents of the current build: all together, and by side (SIDES), most characters
    first."""

    total: Size = field(default_factory=Size)
    by: dict[str, dict[str, Size]] = field(default_factory=dict)


@dataclass(frozen=True)
class PackedTokens:
    """How many tokens each document of some token shards has. ids: distinct; tokens: (n,) int64."""

    ids: pa.Array
    tokens: npt.NDArray[np.int64]

    @staticmethod
    def of(tokens: Path, generation: Generation) -> PackedTokens:
        """Read the tables of a generation. Memory: some 100 bytes a document."""
        counted = lengths(tokens, generation).group_by("doc_id").aggregate([("tokens", "sum")])
        return PackedTokens(counted["doc_id"].combine_chunks(), counted["tokens_sum"].to_numpy())

    def look_up(self, doc_ids: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """(n,) tokens of some documents, 0 of those that are not packed, and (n,) which ones are."""
        places = pc.index_in(doc_ids, value_set=self.ids).fill_null(-1).to_numpy()
        there = places >= 0
        found = np.zeros(len(places), np.int64)
        found[there] = self.tokens[places[there]]
        return found, there


def kept_sizes(corpus: Corpus, packed: PackedTokens | None = None, sides: Sequence[str] = ()) -> Sizes:
    """Measure what the current build keeps. Memory: some 100 bytes for each document of an increment."""
    total = Size()
    by: dict[str, dict[str, Size]] = {side: defaultdict(Size) for side in sides}
    for scope in judged(corpus, corpus.build):
        table = _measured(scope, packed, sides)
        total = total.plus(_sum(table))
        for side in sides:
            for name, size in _grouped(table, side):
                by[side][name] = by[side][name].plus(size)
    return Sizes(
        total,
        {
            side: dict(sorted(found.items(), key=lambda item: (-item[1].characters, item[0])))
            for side, found in by.items()
        },
    )


MEASURES = ("words", "characters", "tokens", "packed")


def _measured(scope: Decisions, packed: PackedTokens | None, sides: Sequence[str]) -> pa.Table:
    """Words, characters and tokens of what is left of each kept document of an increment, and its sides."""
    rows, pieces = written(scope)
    wanted = {SIDES[side] for side in sides} - {"language"} | ({"doc_id"} if packed else set())
    scored = ["words", "characters", *(["language"] if "language" in sides else [])]
    scores = kept.taken(scope.root, scope.increment.outputs("score", "scores"), rows, scored)
    columns: dict[str, Any] = {name: scores[name] for name in scored}
    if wanted:
        documents = kept.taken(
            scope.root, scope.increment.outputs("extract", "documents"), rows, sorted(wanted)
        )
        columns |= {name: documents[name] for name in wanted}
    if packed:
        columns["tokens"], columns["packed"] = packed.look_up(columns.pop("doc_id"))
    if pieces:
        columns["words"], columns["characters"] = _cut(scope, rows, pieces, scores)
    if "month" in sides:
        columns["month"] = _months(columns.pop("first_seen"))
    return pa.table(columns)


def _cut(
    scope: Decisions,
    rows: npt.NDArray[np.void],
    pieces: dict[tuple[int, int], list[tuple[int, int]]],
    scores: pa.Table,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Words and characters of what decontamination left; the texts of the documents that it cut are read."""
    words, characters = (np.array(scores[name].to_numpy()) for name in ("words", "characters"))
    places = {(int(row["part"]), int(row["row"])): place for place, row in enumerate(rows)}
    tables = scope.increment.outputs("extract", "documents")
    for part in sorted({part for part, _ in pieces}):
        cut = sorted(row for of, row in pieces if of == part and (part, row) in places)
        texts = kept.chosen(scope.root / tables[part].path, np.array(cut, np.int64), ["text"])
        for row, text in zip(
            cut, (text for batch in texts for text in batch["text"].to_pylist()), strict=True
        ):
            left = [text[slice(*piece)] for piece in pieces[part, row]]
            place = places[part, row]
            words[place] = sum(len(piece.split()) for piece in left)
            characters[place] = sum(map(len, left))
    return words, characters


def _months(seconds: pa.ChunkedArray) -> pa.ChunkedArray:
    """The month of each time, `2013-08` (UTC); a time of 0 is unknown.

    >>> _months(pa.chunked_array([[0, 1375400000, None]])).to_pylist()
    ['unknown', '2013-08', 'unknown']
    """
    known = pc.if_else(pc.fill_null(pc.greater(seconds, 0), False), seconds, pa.scalar(None, pa.int64()))
    return pc.fill_null(pc.strftime(known.cast(pa.timestamp("s")), "%Y-%m"), UNKNOWN)


def _sum(table: pa.Table) -> Size:
    sums = {name: int(pc.sum(table[name]).as_py() or 0) for name in MEASURES if name in table.column_names}
    return Size(documents=len(table), **sums)


def _grouped(table: pa.Table, side: str) -> list[tuple[str, Size]]:
    """The size of the documents of each site, month or language."""
    measures = [name for name in MEASURES if name in table.column_names]
    summed = table.group_by(side).aggregate([("words", "count"), *((name, "sum") for name in measures)])
    return [
        (
            row[side] or UNKNOWN,
            Size(documents=row["words_count"], **{name: int(row[f"{name}_sum"]) for name in measures}),
        )
        for row in summed.to_pylist()
    ]
