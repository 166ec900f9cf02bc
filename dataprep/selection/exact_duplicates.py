"""Step `exact_duplicates`: the exact copies that all ranges of keys found, put together in corpus order.

The steps that follow ask it which documents are copies, some range of documents or any of them. Memory: the
copies among 262,144 documents; what it leaves is mapped.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import Decisions
from dataprep.selection.candidates import COPY
from dataprep.selection.workspace import Workspace
from dataprep.store.npy import ArrayWriter, between, mapped_anew
from dataprep.store.step import Made, Part, Save, Task, read_step

RANGE = 1 << 18
"""Documents that are looked at at once."""


def plan(scope: Decisions, save: Save) -> list[Part]:
    """One part."""
    return [Part(name="all", size=read_step(scope, "order").parts[0].entered)]


def run(task: Task[Decisions]) -> Made:
    """Merge the copies of all ranges of keys."""
    work = Workspace(task.scope)
    found_in = [copies for copies in work.arrays("candidates", "copies") if len(copies)]
    total = work.parts("order")[0].entered
    listed, marked = task.attempt("copies"), task.attempt("marked")
    is_copy = mapped_anew(marked, np.bool_, total)
    with ArrayWriter(listed, COPY) as copies:
        for start in range(0, total, RANGE):
            here = [between(copies, "document", start, start + RANGE) for copies in found_in]
            found = np.concatenate([np.empty(0, COPY), *here])
            copies.write(found[np.argsort(found["document"])])
            is_copy[found["document"]] = True
            task.tick(min(RANGE, total - start))
    del is_copy  # and with it the map
    return Made(
        outputs={
            "copies": task.publish(listed, ".npy", "copies", rows=copies.rows),
            "marked": task.publish(marked, ".npy", "marked", rows=total),
        },
        entered=total,
        passed=total,
    )


def listed(work: Workspace) -> npt.NDArray[np.void]:
    """(n,) of COPY: the exact copies in an increment, by document; mapped."""
    (copies,) = work.arrays("exact_duplicates", "copies")
    return copies


def marked(work: Workspace) -> npt.NDArray[np.bool_]:
    """(documents,) whether a document of the increment is an exact copy; mapped."""
    (is_copy,) = work.arrays("exact_duplicates", "marked")
    return is_copy
