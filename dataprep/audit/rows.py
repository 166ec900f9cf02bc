"""Rows of published tables by their keys, without the columns that nobody wants: texts, above all.

The column of the keys is read of each table, and the wanted columns of the row groups that hold such a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.selection import kept
from dataprep.store.files import Output, read_table

Row = dict[str, Any]


def rows_with(
    root: Path, tables: Iterable[Output], column: str, keys: Collection[bytes], columns: list[str]
) -> Iterator[Row]:
    """The rows whose `column` (16 bytes) is one of some keys, in the order of the tables, with some columns.

    A row lacks the columns that its table has not: earlier versions wrote fewer. Memory: the keys of one
    table, and the wanted columns of a batch. Raises DataError for a damaged table.
    """
    wanted = pa.array(sorted(keys), pa.binary(16))
    for output in tables:
        held = read_table(root, [output], [column])[column]
        rows = np.flatnonzero(pa.compute.is_in(held, value_set=wanted).to_numpy())
        if len(rows):
            there = set(pq.read_schema(root / output.path).names)
            named = [name for name in columns if name in there]
            for batch in kept.chosen(root / output.path, rows, named):
                yield from batch.to_pylist()
