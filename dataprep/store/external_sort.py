"""Rows that do not fit in memory, sorted by a 64-bit number: written as sorted runs, read back by ranges.

The file has no name, so a killed process leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

RUN_BYTES = 32 << 20
"""Tables are gathered in memory up to this size before they are sorted and written as one run."""
BATCH_ROWS = 512
"""Rows that are read at once; a range begins and ends within a batch of each run."""


def ranges(number: int) -> list[tuple[int, int]]:
    """Cut the numbers below 2^64 into equal ranges [low, high)."""
    return list(pairwise(place * (1 << 64) // number for place in range(number + 1)))


@dataclass(frozen=True)
class _Run:
    """Sorted batches that follow one another in the file.

    firsts: (batches,) uint64, the first number of each. offsets: (batches + 1,) int64, where each begins.
    """

    firsts: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]


class SortedSpill:
    """A multiset of rows; use it as `with SortedSpill(...) as spill`.

    directory: where the file is made; it takes the rows' size as Arrow tables.
    schema: of the rows; the first column orders them. It is uint64 without nulls, and its values are spread
    evenly, as those of a hash are.
    """

    def __init__(self, directory: Path, schema: pa.Schema) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self._schema = schema
        self._directory = directory
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115, closed by __exit__
        self._runs: list[_Run] = []
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
        """The rows whose number is in [low, high), in no order."""
        if self._gathered:
            self._write_run()
        slices = [self._slice(run, low, high) for run in self._runs]
        return pa.concat_tables([self._schema.empty_table(), *slices]).combine_chunks()

    def _write_run(self) -> None:
        table = pa.concat_tables(self._gathered).combine_chunks()
        self._gathered, self._gathered_bytes = [], 0
        numbers = np.asarray(table[0])
        order = np.argsort(numbers, kind="stable")
        offsets = [self._file.tell()]
        try:
            for batch in table.take(order).to_batches(BATCH_ROWS):
                self._file.write(batch.serialize())
                offsets.append(self._file.tell())
            self._file.flush()
        except OSError as error:  # the file has no name, so the message says where it is
            raise OSError(error.errno, error.strerror, str(self._directory)) from error
        self._runs.append(_Run(numbers[order[::BATCH_ROWS]], np.array(offsets, np.int64)))

    def _slice(self, run: _Run, low: int, high: int) -> pa.Table:
        """The rows of a run in a range. The file is read, not mapped: pages of a map count as memory."""
        first = max(int(np.searchsorted(run.firsts, np.uint64(low))) - 1, 0)
        last = len(run.firsts) if high == 1 << 64 else int(np.searchsorted(run.firsts, np.uint64(high)))
        start, end = int(run.offsets[first]), int(run.offsets[last])
        data = pa.BufferReader(os.pread(self._file.fileno(), end - start, start))
        batches = [
            pa.ipc.read_record_batch(pa.ipc.read_message(data), self._schema) for _ in range(first, last)
        ]
        table = pa.Table.from_batches(batches, self._schema)
        numbers = np.asarray(table[0])
        inside = (numbers >= np.uint64(low)) & (numbers <= np.uint64(high - 1))
        begin = int(inside.argmax()) if inside.any() else 0
        return table.slice(begin, int(inside.sum()))
