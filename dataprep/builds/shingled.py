"""Step `shingles` of one partition of documents: the sets that will be compared, read from their texts once.

Texts are read a row group at a time, in their order, and only groups that hold a candidate. Memory: a row
group of texts and the sets of one partition's candidates, 8 bytes a shingle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep import tombstones
from dataprep.arrays import between
from dataprep.builds import join
from dataprep.builds.work import PLACE_BITS, Work
from dataprep.corpus import Build, Corpus, Increment
from dataprep.documents import minhash
from dataprep.errors import DataError
from dataprep.store import Record, commit, done

STEP = "shingles"
SET = np.dtype([("document", "<u4"), ("length", "<u4"), ("start", "<u8")])
"""Where the shingles of a document stand in the file beside."""


def plan(work: Work) -> list[int]:
    """The partitions that hold candidates, as destinations: source << 32 | partition."""
    found = [np.unique(_needed(work, record)["destination"]) for record in work.records(join.STEP)]
    destinations: list[int] = np.unique(np.concatenate(found)).tolist()
    return destinations


def run_part(
    corpus: Corpus, build: Build, increment: Increment, destination: int, tick: Callable[[int], None]
) -> Record:
    """Make the sets of one of `plan`'s partitions."""
    work = Work.of(corpus, build, increment)
    source, part = destination >> PLACE_BITS, destination & 0xFFFFFFFF
    stem = f"{source:05d}-{part:05d}"
    path = work.directory / STEP / f"{stem}.json"
    inputs = work.inputs | work.made(join.STEP)
    if record := done(path, inputs):
        tick(record.entered)
        return record
    rows, documents = _rows(work, destination)
    origin = work.earlier[source] if source < len(work.earlier) else work.itself()
    sets = list(shingles(origin.root, origin.increment, part, rows))
    index = np.empty(len(rows), SET)
    index["document"], index["length"] = documents, [len(each) for each in sets]
    index["start"] = np.cumsum(index["length"], dtype=np.uint64) - index["length"]
    outputs = [
        work.publish_array(STEP, stem, index[np.argsort(documents)]),
        work.publish_array(STEP, f"{stem}-sets", np.concatenate([np.empty(0, np.uint64), *sets])),
    ]
    tick(len(rows))
    return commit(path, Record(STEP, stem, inputs, outputs, len(rows), len(rows)))


def shingles(
    root: Path, increment: Increment, part: int, rows: npt.NDArray[np.uint32]
) -> Iterator[minhash.U64]:
    """The shingles of some documents of a partition, forgotten ones too; rows ascending."""
    gone = tombstones.shingles(root, increment.number, part)
    path = root / increment.records("documents")[part].outputs[0].path
    try:
        with pq.ParquetFile(path) as file:
            start = 0
            for group in range(file.num_row_groups):
                end = start + file.metadata.row_group(group).num_rows
                here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
                if len(here):
                    texts = file.read_row_group(group, ["text"])["text"].take(pa.array(here - start))
                    for row, text in zip(here.tolist(), texts, strict=True):
                        yield gone[row] if row in gone else minhash.shingles(text.as_py())
                start = end
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); `outbound corpus verify` says what else"
        ) from None


def _rows(work: Work, destination: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Rows of a partition that are needed, ascending, and their documents; exact copies are not compared."""
    found = [
        between(_needed(work, record), "destination", destination, destination + 1)
        for record in work.records(join.STEP)
    ]
    rows, first = np.unique(np.concatenate([each["row"] for each in found]), return_index=True)
    documents = np.concatenate([each["document"] for each in found])[first]
    if destination >> PLACE_BITS == len(work.earlier):
        compared = ~np.isin(documents, join.all_copies(work)["document"])
        rows, documents = rows[compared], documents[compared]
    return rows, documents


def _needed(work: Work, record: Record) -> npt.NDArray[np.void]:
    return work.array(record.outputs[4])
