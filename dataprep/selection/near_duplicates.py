"""Step `near_duplicates` of a range of documents: the exact similarity to their candidates, earliest first.

Memory: about 200 MB, of which 64 MB are sets, mapped; how much of a corpus repeats itself changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import Decisions
from dataprep.selection import candidates, exact_duplicates
from dataprep.selection.shingles import part_name
from dataprep.selection.workspace import PLACE_BITS, Workspace
from dataprep.store.npy import Pieces, between, distinct, mapped
from dataprep.store.step import Made, Part, Save, Task
from dataprep.text import minhash

RANGE = 1 << 16
"""Documents of one task."""
PAIRS = 1 << 18
"""Pairs that are gathered at once, about."""
SHINGLES = 1 << 23
"""Shingles of candidates that are mapped at once, about."""
REPEAT = np.dtype([("document", "<u4"), ("place", "<u8"), ("similarity", "<f8")])
"""A document and the earliest that it repeats."""

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Notes of a part: how many pairs were compared."""

    compared: int = 0


def plan(scope: Decisions, save: Save) -> list[Part]:
    """The ranges of documents."""
    total = Workspace(scope).documents
    ranges = [(start, min(start + RANGE, total)) for start in range(0, total, RANGE)]
    return [
        Part(name=f"{number:05d}", size=end - start, spec={"start": start, "end": end})
        for number, (start, end) in enumerate(ranges)
    ]


def run(task: Task[Decisions]) -> Made:
    """Compare the documents of one of `plan`'s ranges."""
    work, start, end = Workspace(task.scope), task.part.spec["start"], task.part.spec["end"]
    rules = task.scope.corpus.recipe.select.near_duplicates
    threshold = rules.threshold if rules else 1.0
    found, compared = [], 0
    for documents, places in _pairs(work, start, end, threshold):
        sets = Sets(work)  # anew, so that what was mapped for the pairs before is let go
        owners = np.uint64(len(work.earlier) << PLACE_BITS) | documents.astype(np.uint64)
        one_of, other_of = sets.of(owners), sets.of(places)
        bounds = [*np.flatnonzero(np.diff(documents, prepend=-1)).tolist(), len(documents)]
        for first, last in pairwise(bounds):
            for begin, stop in _growing(first, last):
                likeness = minhash.jaccards(one_of[begin], other_of[begin:stop])
                compared += stop - begin
                if hits := np.flatnonzero(likeness >= threshold)[:1].tolist():
                    found.append((documents[first], places[begin + hits[0]], likeness[hits[0]]))
                    break
    task.tick(end - start)
    return Made(
        outputs={"repeats": task.publish_array(np.array(found, REPEAT))},
        entered=end - start,
        passed=end - start,
        notes=Compared(compared=compared),
    )


class Sets:
    """The shingles of documents by their places, mapped."""

    def __init__(self, work: Workspace) -> None:
        self._root = work.scope.root
        self._parts = work.shingles
        self._catalogues = work.catalogues
        self._files: dict[int, list[npt.NDArray[Any]]] = {}

    def of(self, places: U64) -> list[U64]:
        """The set of each place."""
        entries = candidates.look_up(self._catalogues, places)
        destinations = places & np.uint64(0xFFFFFFFF00000000) | entries["part"].astype(np.uint64)
        result: list[U64] = [np.empty(0, np.uint64)] * len(places)
        for destination in distinct(destinations).tolist():
            here = np.flatnonzero(destinations == destination)
            index, shingles = self._mapped(destination)
            documents = (places[here] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
            slots = index[np.searchsorted(index["document"], documents)]
            begins, lengths = slots["start"].tolist(), slots["length"].tolist()
            for place, begin, length in zip(here.tolist(), begins, lengths, strict=True):
                result[place] = shingles[begin : begin + length]
        return result

    def _mapped(self, destination: int) -> list[npt.NDArray[Any]]:
        """The index and the shingles of one partition."""
        if destination not in self._files:
            outputs = self._parts[part_name(destination)].outputs
            self._files[destination] = [mapped(self._root / outputs[name].path) for name in ("index", "sets")]
        return self._files[destination]


def _pairs(
    work: Workspace, start: int, end: int, threshold: float
) -> Iterator[tuple[npt.NDArray[np.uint32], U64]]:
    """Documents in a range and the places of their candidates, by document and then the earliest first.

    What cannot decide is left out: exact copies, of which the original is a candidate, too, and candidates of
    too different a size, since J <= smaller / larger.
    """
    slices, lists = [], work.arrays("candidates", "lists")
    for number, queries in enumerate(work.arrays("candidates", "queries")):
        found = between(queries, "document", start, end)
        slices.append((np.full(len(found), number), found))
    task = np.concatenate([number for number, _ in slices])
    queries = np.concatenate([found for _, found in slices])
    is_copy = exact_duplicates.marked(work)
    alive = ~is_copy.take(queries["document"])
    task, queries = task[alive], queries[alive]
    by_document = np.argsort(queries["document"], kind="stable")
    task, queries = task[by_document], queries[by_document]
    total = np.cumsum(queries["count"], dtype=np.int64)
    begin = 0
    while begin < len(queries):
        stop = int(np.searchsorted(total, (total[begin - 1] if begin else 0) + PAIRS, "right"))
        last = queries["document"][min(max(stop, begin + 1), len(queries)) - 1]
        stop = int(np.searchsorted(queries["document"], last, "right"))
        documents, places = _expanded(task[begin:stop], queries[begin:stop], lists)
        keep = _deciding(work.catalogues, is_copy, documents, places, threshold)
        begin = stop
        yield from _portions(documents[keep], places[keep], work.catalogues)


def _portions(
    documents: npt.NDArray[np.uint32], places: U64, catalogues: list[Pieces]
) -> Iterator[tuple[npt.NDArray[np.uint32], U64]]:
    """Pairs cut between documents, where their candidates have some `SHINGLES` together."""
    total = np.cumsum(candidates.look_up(catalogues, places)["shingles"], dtype=np.int64)
    begin = 0
    while begin < len(documents):
        full = np.searchsorted(total, (total[begin - 1] if begin else 0) + SHINGLES)
        last = documents[min(int(full), len(documents) - 1)]
        stop = int(np.searchsorted(documents, last, "right"))
        yield documents[begin:stop], places[begin:stop]
        begin = stop


def _expanded(
    task: npt.NDArray[np.int64], queries: npt.NDArray[np.void], lists: list[U64]
) -> tuple[npt.NDArray[np.uint32], U64]:
    """Distinct pairs of a document and a candidate, in order."""
    documents, places = [], []
    for number in distinct(task).tolist():
        here = queries[task == number]
        count = here["count"].astype(np.int64)
        documents.append(np.repeat(here["document"], count))
        places.append(lists[number][candidates.runs(here["start"].astype(np.int64), count)])
    document, place = np.concatenate(documents), np.concatenate(places)
    order = np.lexsort((place, document))
    document, place = document[order], place[order]
    new = np.ones(len(document), bool)
    new[1:] = (np.diff(document) > 0) | (np.diff(place) > 0)
    return document[new], place[new]


def _deciding(
    catalogues: list[Pieces],
    copies: Pieces,
    documents: npt.NDArray[np.uint32],
    places: U64,
    threshold: float,
) -> npt.NDArray[np.bool_]:
    """Which pairs can decide."""
    mine = places >= np.uint64(len(catalogues) - 1 << PLACE_BITS)
    is_copy = np.zeros(len(places), bool)
    is_copy[mine] = copies.take((places[mine] & np.uint64(0xFFFFFFFF)).astype(np.int64))
    entries = candidates.look_up(catalogues, places)
    sizes = entries["shingles"].astype(np.int64)
    own_sizes = catalogues[-1].take(documents)["shingles"].astype(np.int64)
    alike = np.minimum(sizes, own_sizes) / np.maximum(sizes, own_sizes) >= threshold
    keys = np.ascontiguousarray(entries["text_key"]).view("<u8").reshape(-1, 2)
    order = np.lexsort((places, keys[:, 1], keys[:, 0], documents))  # copies in older sources
    first = np.ones(len(order), bool)
    first[1:] = np.diff(documents[order]) > 0
    first[1:] |= (np.diff(keys[order].astype(np.uint64), axis=0) != 0).any(axis=1)
    original = np.empty(len(order), bool)
    original[order] = first
    return alike & original & ~is_copy


def _growing(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Ranges of 1, 8, 64, 64 ...: the earliest candidate mostly decides."""
    size = 1
    while first < last:
        yield first, min(first + size, last)
        first, size = first + size, min(8 * size, 64)
