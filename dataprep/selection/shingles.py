"""Step `shingles` of one partition of documents: the sets that will be compared, read from their texts once.

Texts are read in their order, and only row groups that hold a candidate. Memory: 4,096 texts, and 16 bytes a
candidate of one partition; the sets go to the file as they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Decisions, Increment
from dataprep.errors import unreadable
from dataprep.selection import exact_duplicates
from dataprep.selection.workspace import PLACE_BITS, Workspace
from dataprep.store.npy import ArrayWriter, between, changes, distinct
from dataprep.store.step import Made, Part, Save, Task
from dataprep.text import minhash

TEXTS = 1 << 12
"""Texts that are read at once."""
SET = np.dtype([("document", "<u4"), ("length", "<u4"), ("start", "<u8")])
"""Where the shingles of a document stand in the file beside."""


def plan(scope: Decisions, save: Save) -> list[Part]:
    """The partitions that hold candidates, as destinations: source << 32 | partition."""
    work = Workspace(scope)
    found = [distinct(needed["destination"]) for needed in work.arrays("candidates", "needed")]
    destinations: list[int] = distinct(np.concatenate(found)).tolist()
    return [
        Part(name=part_name(destination), spec={"destination": destination}) for destination in destinations
    ]


def run(task: Task[Decisions]) -> Made:
    """Make the sets of one of `plan`'s partitions."""
    work, destination = Workspace(task.scope), task.part.spec["destination"]
    source, part = destination >> PLACE_BITS, destination & 0xFFFFFFFF
    rows, documents = _rows(work, destination)
    holder = work.earlier[source] if source < len(work.earlier) else task.scope
    index, written = np.empty(len(rows), SET), task.attempt("sets")
    with ArrayWriter(written, np.uint64) as sets:
        for place, found in enumerate(shingles(holder.root, holder.increment, part, rows)):
            index[place] = documents[place], len(found), sets.rows
            sets.write(found)
    task.tick(len(rows))
    return Made(
        outputs={
            "index": task.publish_array(index[np.argsort(documents)]),
            "sets": task.publish(written, ".npy", "sets", rows=sets.rows),
        },
        entered=len(rows),
        passed=len(rows),
    )


def part_name(destination: int) -> str:
    """The name of one of `plan`'s partitions."""
    return f"{destination >> PLACE_BITS:05d}-{destination & 0xFFFFFFFF:05d}"


def shingles(
    root: Path, increment: Increment, part: int, rows: npt.NDArray[np.uint32]
) -> Iterator[minhash.U64]:
    """The shingles of some documents of a partition, forgotten ones too; rows ascending."""
    gone = tombstones.shingles(root, increment.number, part)
    path = root / increment.parts("extract")[part].outputs["documents"].path
    try:
        with pq.ParquetFile(path) as file:
            texts = (text for batch in _texts(file, rows) for text in batch.to_pylist())
            for row, found in zip(rows.tolist(), minhash.shingle_sets(texts), strict=True):
                yield gone.get(row, found)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def _texts(file: pq.ParquetFile, rows: npt.NDArray[np.uint32]) -> Iterator[pa.StringArray]:
    """The texts of some rows of a file of documents, ascending, in batches."""
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        if np.searchsorted(rows, start) < np.searchsorted(rows, end):
            for batch in file.iter_batches(TEXTS, [group], ["text"]):
                here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
                yield batch["text"].take(pa.array(here - start))
                start += len(batch)
        start = end


def _rows(work: Workspace, destination: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Rows of a partition that are needed, ascending, and their documents; exact copies are not compared."""
    found = [
        between(needed, "destination", destination, destination + 1)
        for needed in work.arrays("candidates", "needed")
    ]
    needed = np.concatenate(found)
    needed = needed[np.argsort(needed["row"])]
    needed = needed[changes(needed["row"])]
    rows, documents = needed["row"], needed["document"]
    if destination >> PLACE_BITS == len(work.earlier):
        compared = ~exact_duplicates.marked(work).take(documents)
        rows, documents = rows[compared], documents[compared]
    return rows, documents
