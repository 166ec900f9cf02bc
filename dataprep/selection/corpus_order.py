"""Step `order` of one range of the order: the documents of an increment in corpus order.

The plan reads one document in 1,024 of each partition and draws the bounds of the ranges from these. A range
makes its piece of the increment's catalogue, which stays, and, for the steps that follow, the verdicts of the
thresholds in the same order and the ranks of its documents. Memory: about 450 bytes for each document of the
range; of the plan, some 200 bytes for each document that it reads.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import INDEX, Decisions
from dataprep.selection import partition
from dataprep.selection.workspace import ENTRY, Workspace
from dataprep.store.files import publish_array
from dataprep.store.step import Made, Part, Save, Task

JUDGED = np.dtype(
    [(name, partition.DOCUMENT[name]) for name in ("first_seen", "url_key", "verdict", "number")]
)
SAMPLE = 1 << 10
PHASE = 633
"""Documents from the first sample of a partition to that of the next, modulo SAMPLE (by the golden ratio).
Without it, partitions alike in time would have their samples at the same moments, and all documents between
two moments would be one range."""
RANGE = 1 << 18
"""Documents of a range, about."""

Documents = npt.NDArray[np.void]
Key = tuple[int, int, int]
"""The sort key of a document: `first_seen`, and the halves of `url_key`."""
FIRST, LAST = (-1 << 63, 0, 0), (1 << 63, 0, 0)


def plan(scope: Decisions, save: Save) -> list[Part]:
    """The ranges, as the keys in [low, high). Sizes are even shares: a range is counted when it is made."""
    work = Workspace(scope)
    edges = [FIRST, *bounds(work.arrays("select", "documents")), LAST]
    ranges, documents = len(edges) - 1, sum(part.entered for part in work.parts("select"))
    return [
        Part(
            name=f"{number:05d}",
            size=documents * (number + 1) // ranges - documents * number // ranges,
            spec={"low": low, "high": high},
        )
        for number, (low, high) in enumerate(pairwise(edges))
    ]


def run(task: Task[Decisions]) -> Made:
    """Put the documents of one of `plan`'s ranges in order."""
    partitions = Workspace(task.scope).arrays("select", "documents")
    begins, ends = (
        np.array([_place(documents, tuple(task.part.spec[edge])) for documents in partitions], np.int64)
        for edge in ("low", "high")
    )
    slices = [documents[begin:end] for documents, begin, end in zip(partitions, begins, ends, strict=True)]
    rows = np.concatenate([np.empty(0, partition.DOCUMENT), *slices])
    order = partition.corpus_order(rows)
    ranks = np.empty(len(rows), np.uint32)
    ranks[order] = np.arange(len(rows)) + begins.sum()
    entries = np.empty(len(rows), ENTRY)
    entries["part"] = np.repeat(np.arange(len(partitions)), ends - begins)[order]
    rows = rows[order]
    for name in set(ENTRY.names or ()) - {"part"}:
        entries[name] = rows[name]
    task.tick(len(rows))
    index = task.scope.build.of(task.scope.increment) / INDEX
    stem = f"{task.scope.increment.key}-catalogue-{task.part.name}"
    return Made(
        outputs={
            "catalogue": publish_array(task.scope.root, index, stem, entries),
            "judged": task.publish_array(rows[list(JUDGED.names or ())].astype(JUDGED), "judged"),
            "ranks": task.publish_array(ranks, "ranks"),  # by partition, and there ascending
            "starts": task.publish_array(np.cumsum([0, *(ends - begins)]), "starts"),  # of these, in `ranks`
        },
        entered=len(rows),
        passed=len(rows),
    )


def bounds(partitions: Sequence[Documents]) -> list[Key]:
    """The keys at which ranges of about RANGE documents end, ascending."""
    samples = sorted(
        _key(row)
        for number, documents in enumerate(partitions)
        for row in documents[number * PHASE % SAMPLE :: SAMPLE]
    )
    return samples[RANGE // SAMPLE :: RANGE // SAMPLE]


def _key(row: np.void) -> Key:
    return int(row["first_seen"]), int(row["url_key"][0]), int(row["url_key"][1])


def _place(documents: Documents, bound: Key) -> int:
    """How many documents of a partition come before a bound.

    Each range needs this of each partition. To search `first_seen` first takes a quarter of the time.
    """
    seen = documents["first_seen"]
    start = bisect_left(seen, bound[0])
    end = bisect_right(seen, bound[0], start)
    return bisect_left(documents, bound, start, end, key=_key)
