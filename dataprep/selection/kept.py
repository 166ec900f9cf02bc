"""The kept documents of a build, read without holding more of a partition than one batch of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus.directory import Decisions
from dataprep.errors import unreadable
from dataprep.selection.thresholds import KEPT
from dataprep.store.files import Output, read_table
from dataprep.store.step import read_step

BATCH_ROWS = 256

KEPT_ROW = np.dtype([("part", "<i4"), ("row", "<i4"), ("order", "<i4")])
"""Where a kept document stands: its partition, its row there, and its row in the verdicts: corpus order."""


def verdicts_of(scope: Decisions) -> list[Output]:
    """The tables of the verdicts on an increment, which must be there."""
    return read_step(scope, "verdicts").outputs("verdicts")


def kept_rows(scope: Decisions) -> npt.NDArray[np.void]:
    """(k,) of KEPT_ROW, the kept documents of an increment by part and row.

    Memory: about 50 bytes a document of the increment.
    """
    table = read_table(scope.root, verdicts_of(scope), ["part", "row", "verdict"])
    order = np.flatnonzero(pa.compute.equal(table["verdict"], KEPT).to_numpy())
    kept = np.empty(len(order), KEPT_ROW)
    kept["order"] = order
    for name in ("part", "row"):
        kept[name] = table[name].to_numpy()[order]
    return np.sort(kept, order=["part", "row"])


def taken(root: Path, outputs: list[Output], rows: npt.NDArray[np.void], columns: list[str]) -> pa.Table:
    """Columns of the table of each partition, in the rows (KEPT_ROW, by part and row) of that partition."""
    tables = [
        read_table(root, [output], columns).take(pa.array(rows["row"][rows["part"] == part]))
        for part, output in enumerate(outputs)
    ]
    return pa.concat_tables(tables) if tables else pa.table({name: pa.array([]) for name in columns})


def chosen(
    path: Path, rows: npt.NDArray[np.integer], columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Some rows of a Parquet file, in batches; `rows` ascend. Raises DataError when it cannot be read.

    Memory: a batch of BATCH_ROWS rows beside the compressed column chunks of one row group.
    """
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            begins = np.concatenate([[0], np.cumsum(sizes)])
            for group, (begin, end) in enumerate(pairwise(begins)):
                low, high = np.searchsorted(rows, [begin, end])
                if low == high:
                    continue
                wanted = rows[low:high] - begin
                first = 0
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                    low, high = np.searchsorted(wanted, [first, first + batch.num_rows])
                    if low < high:
                        yield batch.take(pa.array(wanted[low:high] - first))
                    first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None
