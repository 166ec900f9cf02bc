"""Step `exact_duplicates` of a range of documents: the copies that all ranges of keys found, in corpus order.

The steps that follow read which documents are copies. Memory: the copies among the documents of a range.
"""

from __future__ import annotations

import numpy as np

from dataprep.corpus.directory import Decisions
from dataprep.selection.candidates import COPY
from dataprep.selection.workspace import Workspace
from dataprep.store.npy import Pieces, between, mapped
from dataprep.store.step import Made, Part, Save, Task


def plan(scope: Decisions, save: Save) -> list[Part]:
    """The ranges of `order`."""
    return Workspace(scope).ranges()


def run(task: Task[Decisions]) -> Made:
    """Merge the copies that all ranges of keys found among one of `plan`'s ranges of documents."""
    work, start, end = Workspace(task.scope), task.part.spec["start"], task.part.spec["end"]
    some = [output for output in work.outputs("candidates", "copies") if output.rows]
    found_in = [between(mapped(work.scope.root / each.path), "document", start, end) for each in some]
    found = np.concatenate([np.empty(0, COPY), *found_in])
    is_copy = np.zeros(end - start, np.bool_)
    is_copy[found["document"].astype(np.int64) - start] = True
    task.tick(end - start)
    return Made(
        outputs={
            "copies": task.publish_array(found[np.argsort(found["document"])], "copies"),
            "marked": task.publish_array(is_copy, "marked"),
        },
        entered=end - start,
        passed=end - start,
    )


def marked(work: Workspace) -> Pieces:
    """(documents,) whether a document of the increment is an exact copy."""
    return work.pieces("exact_duplicates", "marked", np.bool_)
