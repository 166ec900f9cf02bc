"""Step `order`: the documents of an increment in corpus order, merged from its partitions.

It makes the increment's catalogue, which stays, and, for the steps that follow, the verdicts of the
thresholds in the same order and the rank of every document. Memory: about 100 MB, whatever the increment's
size, for it goes from range to range of the order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import INDEX, Decisions
from dataprep.selection import partition
from dataprep.selection.workspace import ENTRY, Workspace
from dataprep.store.files import attempt_path, publish
from dataprep.store.npy import ArrayWriter, mapped_anew
from dataprep.store.step import Made, Part, Save, Task, read_step

JUDGED = np.dtype(
    [(name, partition.DOCUMENT[name]) for name in ("first_seen", "url_key", "verdict", "number")]
)
SAMPLE = 1 << 10
RANGE = 1 << 18
"""Documents that are put in order at once, about; the bounds are drawn from every 1,024th document."""

Documents = npt.NDArray[np.void]
Key = tuple[int, int, int]


def plan(scope: Decisions, save: Save) -> list[Part]:
    """One part."""
    return [Part(name="all", size=sum(part.entered for part in read_step(scope, "select").parts))]


def run(task: Task[Decisions]) -> Made:
    """Put the judged partitions of an increment in order."""
    key = task.scope.increment.key
    parts = Workspace(task.scope).arrays("select", "documents")
    catalogue = attempt_path(task.scope.build.of(task.scope.increment) / INDEX, f"{key}-catalogue")
    judged, ranks = task.attempt("judged"), task.attempt("ranks")
    *starts, total = np.cumsum([0, *map(len, parts)]).tolist()
    rank_of = mapped_anew(ranks, np.uint32, total)
    rank = 0
    with ArrayWriter(catalogue, ENTRY) as entries, ArrayWriter(judged, JUDGED) as verdicts:
        for begins, part_of, rows in _ranges(parts):
            for part, begin in enumerate(begins):
                here = np.flatnonzero(part_of == part)
                first = starts[part] + begin
                rank_of[first : first + len(here)] = rank + here
            entry = np.empty(len(rows), ENTRY)
            entry["part"] = part_of
            for name in set(ENTRY.names or ()) - {"part"}:
                entry[name] = rows[name]
            entries.write(entry)
            verdicts.write(rows[list(JUDGED.names or ())].astype(JUDGED))
            rank += len(rows)
            task.tick(len(rows))
    del rank_of  # and with it the map
    return Made(
        outputs={
            "catalogue": publish(task.scope.root, catalogue, f"{key}-catalogue", ".npy", rows=total),
            "judged": task.publish(judged, ".npy", "judged", rows=total),
            "ranks": task.publish(ranks, ".npy", "ranks", rows=total),
        },
        entered=total,
        passed=total,
    )


def _ranges(
    parts: list[Documents],
) -> Iterator[tuple[list[int], npt.NDArray[np.intp], Documents]]:
    """All documents in order, range by range.

    Yields where the range begins in each partition, and for its documents in order their partition and row.
    """
    samples = sorted(key for part in parts for key in map(_key, part[::SAMPLE]))
    bounds = samples[RANGE // SAMPLE :: RANGE // SAMPLE]
    cuts = [[0, *(_place(part, bound) for bound in bounds), len(part)] for part in parts]
    for number in range(len(bounds) + 1):
        slices = [part[cut[number] : cut[number + 1]] for part, cut in zip(parts, cuts, strict=True)]
        part_of = np.repeat(np.arange(len(parts)), [len(part) for part in slices])
        rows = np.concatenate([np.empty(0, partition.DOCUMENT), *slices])
        order = np.lexsort((rows["url_key"][:, 1], rows["url_key"][:, 0], rows["first_seen"]))
        yield [cut[number] for cut in cuts], part_of[order], rows[order]


def _key(row: np.void) -> Key:
    return int(row["first_seen"]), int(row["url_key"][0]), int(row["url_key"][1])


def _place(part: Documents, bound: Key) -> int:
    """How many documents of a partition come before a bound."""
    return bisect_left(part, bound, key=_key)
