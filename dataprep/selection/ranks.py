"""Step `ranks` of some partitions: the places of their documents in the order of the increment.

`order` leaves these by range of the order. Each task of `candidates` looks up documents of every partition,
so it needs them by partition. Memory: about 40 bytes for each document of 32 partitions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import Decisions
from dataprep.selection.workspace import Workspace
from dataprep.store.step import Made, Part, Save, Task

PARTITIONS = 32
"""Partitions of a part: a part reads a piece of every range, so few parts are better."""


def plan(scope: Decisions, save: Save) -> list[Part]:
    """Groups of PARTITIONS partitions."""
    sizes = _sizes(Workspace(scope))
    return [
        Part(name=f"{number:05d}", size=sum(here), spec={"first": number * PARTITIONS, "number": len(here)})
        for number, here in enumerate(sizes)
    ]


def run(task: Task[Decisions]) -> Made:
    """Gather the ranks of one of `plan`'s parts from all ranges."""
    work, first, number = Workspace(task.scope), task.part.spec["first"], task.part.spec["number"]
    found, partition_of = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
    for ranks, starts in zip(work.arrays("order", "ranks"), work.arrays("order", "starts"), strict=True):
        here = starts[first : first + number + 1]
        found.append(ranks[here[0] : here[-1]])
        partition_of.append(np.repeat(np.arange(number), np.diff(here)))
    by_partition = np.argsort(np.concatenate(partition_of), kind="stable")
    task.tick(len(by_partition))
    return Made(
        outputs={"ranks": task.publish_array(np.concatenate(found)[by_partition])},
        entered=len(by_partition),
        passed=len(by_partition),
    )


def of_partitions(work: Workspace) -> Iterator[npt.NDArray[np.uint32]]:
    """(rows,) of each partition in turn, the ranks of its documents, ascending; mapped."""
    for here, ranks in zip(_sizes(work), work.arrays("ranks", "ranks"), strict=True):
        yield from np.split(ranks, np.cumsum(here)[:-1])


def _sizes(work: Workspace) -> list[list[int]]:
    """How many documents each partition has, by part."""
    sizes = [part.entered for part in work.parts("select")]
    return [sizes[first : first + PARTITIONS] for first in range(0, len(sizes), PARTITIONS)]
