"""Step `copies`: the exact copies that all ranges of keys found, put together in corpus order.

The steps that follow ask it which documents are copies, some range of documents or any of them. Memory: the
copies among 262,144 documents; what it leaves is mapped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.selection import candidates, corpus_order
from dataprep.selection.workspace import Work
from dataprep.store.files import attempt_path, publish
from dataprep.store.npy import ArrayWriter, between, mapped_anew
from dataprep.store.records import Record, commit, done

STEP = "copies"
RANGE = 1 << 18
"""Documents that are looked at at once."""


def run(corpus: Corpus, build: Build, increment: Increment, tick: Callable[[int], None]) -> Record:
    """Merge the copies of all ranges of keys."""
    work = Work.of(corpus, build, increment)
    path = work.directory / STEP / f"{work.part}.json"
    inputs = work.inputs | work.made(candidates.STEP)
    if record := done(path, inputs):
        return record
    tasks = [work.array(record.outputs[1]) for record in work.records(candidates.STEP)]
    tasks = [task for task in tasks if len(task)]
    total = work.records(corpus_order.STEP)[0].entered
    listed, marked = (attempt_path(path.parent, name) for name in ("listed", "marked"))
    is_copy = mapped_anew(marked, np.bool_, total)
    with ArrayWriter(listed, candidates.COPY) as copies:
        for start in range(0, total, RANGE):
            here = [between(task, "document", start, start + RANGE) for task in tasks]
            found = np.concatenate([np.empty(0, candidates.COPY), *here])
            copies.write(found[np.argsort(found["document"])])
            is_copy[found["document"]] = True
            tick(min(RANGE, total - start))
    del is_copy  # and with it the map
    outputs = [
        publish(corpus.root, listed, "listed", ".npy", rows=copies.rows),
        publish(corpus.root, marked, "marked", ".npy", rows=total),
    ]
    return commit(path, Record(STEP, work.part, inputs, outputs, total, total))


def listed(work: Work) -> npt.NDArray[np.void]:
    """(n,) of candidates.COPY: the exact copies in an increment, by document; mapped."""
    return work.array(work.records(STEP)[0].outputs[0])


def marked(work: Work) -> npt.NDArray[np.bool_]:
    """(documents,) whether a document of the increment is an exact copy; mapped."""
    return work.array(work.records(STEP)[0].outputs[1])
