"""Rows that do not fit in memory, sorted by a 64-bit number: written as sorted runs, read back by ranges.

The file has no name, so a killed process leaves nothing behind.
"""

from __future__ import annotations

import mmap
import tempfile
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

RUN_BYTES = 32 << 20
"""Tables are gathered in memory up to this size before they are sorted and written as one run."""


def ranges(number: int) -> list[tuple[int, int]]:
    """Cut the numbers below 2^64 into equal ranges [low, high)."""
    return list(pairwise(place * (1 << 64) // number for place in range(number + 1)))


class Spill:
    """A multiset of rows; use it as `with Spill(...) as spill`.

    directory: where the file is made; it takes the rows' size as Arrow tables.
    schema: of the rows; the first column orders them. It is uint64 without nulls, and its values are spread
    evenly, as those of a hash are.
    """

    def __init__(self, directory: Path, schema: pa.Schema) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self._schema = schema
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115, closed by __exit__
        self._runs: list[tuple[int, int]] = []  # (offset, bytes)
        self._gathered: list[pa.Table] = []
        self._gathered_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, table: pa.Table) -> None:
        """Add rows of the schema."""
        self.rows += table.num_rows
        self._gathered.append(table)
        self._gathered_bytes += table.nbytes
        if self._gathered_bytes >= RUN_BYTES:
            self._write_run()

    def read(self, low: int, high: int) -> pa.Table:
        """The rows whose number is in [low, high), in no order, as a copy in memory."""
        if self._gathered:
            self._write_run()
        slices = [self._slice(offset, size, low, high) for offset, size in self._runs]
        return pa.concat_tables([self._schema.empty_table(), *slices]).combine_chunks()

    def _write_run(self) -> None:
        table = pa.concat_tables(self._gathered).combine_chunks()
        self._gathered, self._gathered_bytes = [], 0
        table = table.take(np.argsort(table[0].to_numpy(), kind="stable"))
        end = self._file.seek(0, 2)
        offset = -(-end // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._file.seek(offset)
        with pa.ipc.new_stream(self._file, self._schema) as writer:
            writer.write_table(table)
        self._file.flush()
        self._runs.append((offset, self._file.tell() - offset))

    def _slice(self, offset: int, size: int, low: int, high: int) -> pa.Table:
        """The rows of a run in a range: mapped, and unmapped with the last reference to them."""
        mapped = mmap.mmap(self._file.fileno(), size, offset=offset, access=mmap.ACCESS_READ)
        table = pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()
        places = table[0].to_numpy()
        start = int(np.searchsorted(places, np.uint64(low)))
        end = len(places) if high == 1 << 64 else int(np.searchsorted(places, np.uint64(high)))
        return table.slice(start, end - start)
