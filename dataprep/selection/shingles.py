"""Step `shingles` of one partition of documents: the sets that will be compared, read from their texts once.

Texts are read in their order, and only row groups that hold a candidate. Memory: 4,096 texts, and 16 bytes a
candidate of one partition; the sets go to the file as they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.errors import unreadable
from dataprep.selection import candidates, exact_duplicates
from dataprep.selection.workspace import PLACE_BITS, Work
from dataprep.store.files import attempt_path, publish
from dataprep.store.npy import ArrayWriter, between, changes, distinct
from dataprep.store.records import Record, commit, done
from dataprep.text import minhash

STEP = "shingles"
TEXTS = 1 << 12
"""Texts that are read at once."""
SET = np.dtype([("document", "<u4"), ("length", "<u4"), ("start", "<u8")])
"""Where the shingles of a document stand in the file beside."""


def plan(work: Work) -> list[int]:
    """The partitions that hold candidates, as destinations: source << 32 | partition."""
    found = [distinct(_needed(work, record)["destination"]) for record in work.records(candidates.STEP)]
    destinations: list[int] = distinct(np.concatenate(found)).tolist()
    return destinations


def run_part(
    corpus: Corpus, build: Build, increment: Increment, destination: int, tick: Callable[[int], None]
) -> Record:
    """Make the sets of one of `plan`'s partitions."""
    work = Work.of(corpus, build, increment)
    source, part = destination >> PLACE_BITS, destination & 0xFFFFFFFF
    path = record_path(work, destination)
    stem = path.stem
    inputs = work.inputs | work.made(candidates.STEP, exact_duplicates.STEP)
    if record := done(path, inputs):
        tick(record.entered)
        return record
    rows, documents = _rows(work, destination)
    origin = work.earlier[source] if source < len(work.earlier) else work.itself()
    index, written = np.empty(len(rows), SET), attempt_path(path.parent, f"{stem}-sets")
    with ArrayWriter(written, np.uint64) as sets:
        for place, found in enumerate(shingles(origin.root, origin.increment, part, rows)):
            index[place] = documents[place], len(found), sets.rows
            sets.write(found)
    outputs = [
        work.publish_array(STEP, stem, index[np.argsort(documents)]),
        publish(corpus.root, written, f"{stem}-sets", ".npy", rows=sets.rows),
    ]
    tick(len(rows))
    return commit(path, Record(STEP, stem, inputs, outputs, len(rows), len(rows)))


def record_path(work: Work, destination: int) -> Path:
    """Where the record of one of `plan`'s partitions stands; its outputs are an index of SET and the sets."""
    stem = f"{destination >> PLACE_BITS:05d}-{destination & 0xFFFFFFFF:05d}"
    return work.directory / STEP / f"{stem}.json"


def shingles(
    root: Path, increment: Increment, part: int, rows: npt.NDArray[np.uint32]
) -> Iterator[minhash.U64]:
    """The shingles of some documents of a partition, forgotten ones too; rows ascending."""
    gone = tombstones.shingles(root, increment.number, part)
    path = root / increment.records("documents")[part].outputs[0].path
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


def _rows(work: Work, destination: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Rows of a partition that are needed, ascending, and their documents; exact copies are not compared."""
    found = [
        between(_needed(work, record), "destination", destination, destination + 1)
        for record in work.records(candidates.STEP)
    ]
    needed = np.concatenate(found)
    needed = needed[np.argsort(needed["row"])]
    needed = needed[changes(needed["row"])]
    rows, documents = needed["row"], needed["document"]
    if destination >> PLACE_BITS == len(work.earlier):
        compared = ~exact_duplicates.marked(work)[documents]
        rows, documents = rows[compared], documents[compared]
    return rows, documents


def _needed(work: Work, record: Record) -> npt.NDArray[np.void]:
    return work.array(record.outputs[4])
