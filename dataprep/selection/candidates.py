"""Step `candidates` of one range of keys: which documents share a bucket with earlier ones.

The partitions' buckets in the range become the increment's index file, and meet the files of the increments
before it and of other corpora. A bucket gives its 64 earliest documents and no more, so boilerplate, of which
a bucket may hold millions, costs a list of 64 and one line a document. Memory: the keys of the range, about
200 bytes each: some 2 million, and at most half as many more, for a bucket of more documents is cut between
them. Older files are mapped and touched only where keys meet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import INDEX, Decisions
from dataprep.selection.bands import EMPTY, HASH_BITS, KEYS_PER_TASK, U64, Buckets, load, ordered, save
from dataprep.selection.ranks import of_partitions
from dataprep.selection.workspace import ENTRY, PLACE_BITS, Workspace
from dataprep.store.files import attempt_path, publish
from dataprep.store.npy import Pieces, changes, distinct
from dataprep.store.step import Made, Part, Save, Task

EARLIEST = 64
"""Candidates that one bucket gives; keeps a bucket of boilerplate linear."""

QUERY = np.dtype([("document", "<u4"), ("count", "<u4"), ("start", "<u8")])
"""The candidates of a document in one bucket: `count` places from `start` on in the task's lists."""
COPY = np.dtype([("document", "<u4"), ("place", "<u8")])
"""A document whose text is that of an earlier one, and the place of the earliest."""
NEEDED = np.dtype([("destination", "<u8"), ("row", "<u4"), ("document", "<u4")])
"""A document whose shingles will be compared; destination is source << 32 | partition."""


class KeyRange(NamedTuple):
    """The keys in [low, high), and if that is one, of the documents whose rank is in [first, last)."""

    low: int
    high: int
    first: int
    last: int


def plan(scope: Decisions, save: Save) -> list[Part]:
    """The ranges of keys, in order: by how many there are, never by the number of workers."""
    work = Workspace(scope)
    passed = sum(part.passed for part in work.parts("select"))
    tasks = max(1, -(-passed * (work.scheme.bands + 1) // KEYS_PER_TASK))
    cuts = [KeyRange(low, high, 0, work.documents) for low, high in work.scheme.cut(tasks)]
    edges = np.array([0, *(cut.high for cut in cuts)], np.uint64)
    parts, sizes = list(_partitions(work)), np.zeros(tasks, np.int64)
    for part in parts:
        sizes += np.diff(np.searchsorted(part.buckets.keys, edges))
    found = [
        each for cut, size in zip(cuts, sizes.tolist(), strict=True) for each in _halved(parts, cut, size)
    ]
    return [
        Part(name=f"{number:05d}", size=size, spec=cut._asdict()) for number, (cut, size) in enumerate(found)
    ]


def run(task: Task[Decisions]) -> Made:
    """Join one of `plan`'s ranges of keys."""
    work, cut = Workspace(task.scope), KeyRange(**task.part.spec)
    low, high = cut.low, cut.high
    parts = list(_partitions(work))
    own = ordered([part.within(cut) for part in parts])
    ahead = ordered([part.ahead(cut) for part in parts])
    stem = f"{task.scope.increment.key}-{task.part.name}"
    written = attempt_path(task.scope.build.of(task.scope.increment) / INDEX, stem)
    save(written, own, work.scheme)

    before = [source.buckets(low, high, work.scheme) for source in work.earlier]
    near = 1 << HASH_BITS
    text_lists, text_queries = candidates(
        _within(before, 0, near), own.within(0, near), ahead.within(0, near)
    )
    lists, queries = candidates(_within(before, near, high), own.within(near, high), ahead.within(near, high))
    found = {
        "copies": copies(text_lists, text_queries, work.catalogues),
        "lists": lists,
        "queries": queries[np.argsort(queries["document"], kind="stable")],
        "needed": _needed(lists, queries, work.catalogues),
    }
    task.tick(len(own.keys))
    return Made(
        outputs={
            "bands": publish(task.scope.root, written, stem, ".bands", rows=len(own.keys)),
            **{name: task.publish_array(array, name) for name, array in found.items()},
        },
        entered=len(own.keys),
        passed=len(own.keys),
    )


def candidates(
    before: Sequence[Sequence[Buckets]], own: Buckets, ahead: Buckets = EMPTY
) -> tuple[U64, npt.NDArray[np.void]]:
    """The earlier documents that each document shares a bucket with, among the bucket's 64 earliest.

    before: the files of each source, the earliest first; they may hold many more keys than `own` and are read
    where keys meet. ahead: documents of the same source as `own`, earlier than its.

    Returns the lists of all buckets (places, earliest first), one after the other, and (n,) of QUERY.
    """
    first = changes(own.keys)
    keys, counts = own.keys[first], np.diff(first, append=len(own.keys))
    room = np.full(len(keys), EARLIEST, np.int64)
    bucket_of, places = [], []
    for source, buckets in (
        (source, buckets) for source, files in enumerate([*before, [ahead]]) for buckets in files
    ):
        if not len(buckets.keys):
            continue
        low, high = np.searchsorted(keys, buckets.keys[0]), np.searchsorted(keys, buckets.keys[-1], "right")
        left = np.searchsorted(buckets.keys, keys[low:high], "left")
        taken = np.minimum(np.searchsorted(buckets.keys, keys[low:high], "right") - left, room[low:high])
        room[low:high] -= taken
        bucket_of.append(np.repeat(np.arange(low, high), taken))
        rows = buckets.documents[runs(left, taken)]
        places.append(np.uint64(source << PLACE_BITS) | rows.astype(np.uint64))
    earlier = EARLIEST - room
    shared = (counts > 1) | (earlier > 0)
    taken = np.where(shared, np.minimum(counts, room), 0)
    bucket_of.append(np.repeat(np.arange(len(keys)), taken))
    rows = own.documents[runs(first, taken)]
    places.append(np.uint64(len(before) << PLACE_BITS) | rows.astype(np.uint64))
    flat = np.concatenate(bucket_of)
    lists = np.concatenate(places)[np.argsort(flat, kind="stable")]
    starts = np.searchsorted(np.sort(flat), np.arange(len(keys)))

    members = np.where(shared, counts, 0)
    bucket = np.repeat(np.arange(len(keys)), members)
    queries = np.empty(len(bucket), QUERY)
    queries["document"] = own.documents[runs(first, members)]
    nth = np.arange(len(bucket)) - np.repeat(np.cumsum(members) - members, members)
    queries["count"] = np.minimum(earlier[bucket] + nth, EARLIEST)
    queries["start"] = starts[bucket]
    return lists, queries[queries["count"] > 0]


def copies(lists: U64, queries: npt.NDArray[np.void], catalogues: Sequence[Pieces]) -> npt.NDArray[np.void]:
    """(n,) of COPY, by document: whose whole text_key, not only its bucket, is that of an earlier one."""
    found = []
    own = np.uint64((len(catalogues) - 1) << PLACE_BITS)
    keys = look_up(catalogues, own | queries["document"].astype(np.uint64))["text_key"]
    nth = 0
    while len(queries):  # once, unless 59-bit halves collide
        place = lists[queries["start"].astype(np.int64) + nth]
        same = look_up(catalogues, place)["text_key"] == keys
        copy = np.empty(int(same.sum()), COPY)
        copy["document"], copy["place"] = queries["document"][same], place[same]
        found.append(copy)
        nth += 1
        left = ~same & (queries["count"] > nth)
        queries, keys = queries[left], keys[left]
    all_found = np.concatenate([np.empty(0, COPY), *found])
    return all_found[np.argsort(all_found["document"])]


def look_up(catalogues: Sequence[Pieces], places: U64) -> npt.NDArray[np.void]:
    """(n,) of ENTRY: the documents at some places."""
    entries = np.empty(len(places), ENTRY)
    source = places >> np.uint64(PLACE_BITS)
    for number in distinct(source).tolist():
        here = source == number
        entries[here] = catalogues[number].take((places[here] & np.uint64(0xFFFFFFFF)).astype(np.int64))
    return entries


def _within(before: Sequence[Sequence[Buckets]], low: int, high: int) -> list[list[Buckets]]:
    return [[buckets.within(low, high) for buckets in files] for files in before]


@dataclass(frozen=True)
class _Partition:
    """The buckets of one partition of the increment, mapped; ranks: (rows,) uint32, of its documents."""

    buckets: Buckets
    ranks: npt.NDArray[np.uint32]

    def within(self, cut: KeyRange) -> Buckets:
        """Its buckets in a cut, documents by their rank."""
        keys, rows = self._of(cut)
        return Buckets(keys, self.ranks[rows])

    def number(self, cut: KeyRange) -> int:
        """How many those are."""
        return len(self._of(cut)[0])

    def ahead(self, cut: KeyRange) -> Buckets:
        """Of the documents before the cut those that may be among its bucket's earliest."""
        found = self.buckets.within(cut.low, cut.high if cut.first else cut.low)
        ranks = self.ranks[found.documents[:EARLIEST]]
        early = ranks < cut.first
        return Buckets(found.keys[:EARLIEST][early], ranks[early])

    def _of(self, cut: KeyRange) -> tuple[U64, npt.NDArray[np.uint32]]:
        found = self.buckets.within(cut.low, cut.high)
        if cut.high - cut.low > 1:
            return found.keys, found.documents
        start, end = (
            bisect_left(found.documents, rank, key=lambda row: int(self.ranks[row]))
            for rank in (cut.first, cut.last)
        )
        return found.keys[start:end], found.documents[start:end]


def _partitions(work: Workspace) -> Iterator[_Partition]:
    for output, ranks in zip(work.outputs("select", "bands"), of_partitions(work), strict=True):
        yield _Partition(load(work.scope.root / output.path, work.scheme), ranks)


def _halved(parts: list[_Partition], cut: KeyRange, size: int) -> list[tuple[KeyRange, int]]:
    """A cut and how many keys it holds, or the halves of it, and of these, until none holds too many."""
    if size <= KEYS_PER_TASK * 3 // 2:
        return [(cut, size)]
    if cut.high - cut.low > 1:
        middle = (cut.low + cut.high) // 2
        halves = [cut._replace(high=middle), cut._replace(low=middle)]
    else:
        middle = (cut.first + cut.last) // 2
        halves = [cut._replace(last=middle), cut._replace(first=middle)]
    sizes = [sum(part.number(half) for part in parts) for half in halves]
    return [each for half, size in zip(halves, sizes, strict=True) for each in _halved(parts, half, size)]


def _needed(lists: U64, queries: npt.NDArray[np.void], catalogues: Sequence[Pieces]) -> npt.NDArray[np.void]:
    """(n,) of NEEDED, by destination and row: candidates and those that have them."""
    own = np.uint64((len(catalogues) - 1) << PLACE_BITS)
    places = distinct(np.concatenate([lists, own | queries["document"].astype(np.uint64)]))
    entries = look_up(catalogues, places)
    needed = np.empty(len(places), NEEDED)
    needed["destination"] = places & np.uint64(0xFFFFFFFF00000000) | entries["part"].astype(np.uint64)
    needed["row"], needed["document"] = entries["row"], (places & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return needed[np.lexsort((needed["row"], needed["destination"]))]


def runs(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """starts[0], starts[0] + 1, ... `lengths[0]` numbers, then those of the next run."""
    skipped = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return skipped + np.arange(len(skipped))
