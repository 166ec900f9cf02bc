"""Rows that do not fit in memory, sorted by a 64-bit number: written as sorted runs, read back by ranges.

A run is a sequence of batches. The first and the last number of each batch are kept, and where it stands, so
that a range is read without the rest. `SortedFile` is a file with a name, which any process reads with
`read_range`. `SortedSpill` is a file without one, of which a killed process leaves nothing behind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

RUN_BYTES = 32 << 20
"""Tables are gathered in memory up to this size before they are sorted and written as one run."""
BATCH_ROWS = 512
"""Rows that are read at once; a range begins and ends within a batch of each run."""
BATCH = np.dtype([("first", "<u8"), ("last", "<u8"), ("start", "<i8"), ("end", "<i8")])
"""A batch: its first and last number, and the bytes of the file in which it stands."""
_COUNT = np.dtype("<i8")
"""What a file ends with: how many batches it has. Their table stands before that."""


def ranges(number: int) -> list[tuple[int, int]]:
    """Cut the numbers below 2^64 into equal ranges [low, high)."""
    return list(pairwise(place * (1 << 64) // number for place in range(number + 1)))


class _Sorted:
    """Rows that are added in any order, written as sorted runs to a file that is open.

    place: what an error of the file names, since the system does not.
    """

    def __init__(self, file: BinaryIO, place: Path) -> None:
        self.rows = 0
        """How many were added."""
        self._file = file
        self._place = place
        self._batches = [np.empty(0, BATCH)]
        self._gathered: list[pa.Table] = []
        self._gathered_bytes = 0

    def __enter__(self) -> Self:
        return self

    def add(self, table: pa.Table) -> None:
        """Add rows. The first column orders them."""
        self.rows += table.num_rows
        self._gathered.append(table)
        self._gathered_bytes += table.nbytes
        if self._gathered_bytes >= RUN_BYTES:
            self._write_run()

    def _all_batches(self) -> npt.NDArray[np.void]:
        """(n,) of BATCH, after all rows are written."""
        if self._gathered:
            self._write_run()
        return np.concatenate(self._batches)

    def _write_run(self) -> None:
        table = pa.concat_tables(self._gathered).combine_chunks()
        self._gathered, self._gathered_bytes = [], 0
        order = np.argsort(np.asarray(table[0]), kind="stable")
        start, batches = self._file.tell(), []
        with self._named_errors():
            for batch in table.take(order).to_batches(BATCH_ROWS):
                self._file.write(batch.serialize())
                numbers, end = np.asarray(batch[0]), self._file.tell()
                batches.append((numbers[0], numbers[-1], start, end))
                start = end
            self._file.flush()
        self._batches.append(np.array(batches, BATCH))

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._place)) from error


class SortedFile(_Sorted):
    """A multiset of rows in a file of its own; use it as `with SortedFile(path) as file`.

    The first column of the rows orders them. It is uint64 without nulls, and its values are spread evenly, as
    those of a hash are. After an error the file is removed: it may be large.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.open("wb"), path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = False
        try:
            with self._named_errors(), self._file:
                if error is None:
                    batches = self._all_batches()
                    self._file.write(batches.tobytes() + np.array(len(batches), _COUNT).tobytes())
            whole = error is None
        finally:
            if not whole:
                self._place.unlink()


def read_range(path: Path, schema: pa.Schema, low: int, high: int) -> pa.Table:
    """The rows of a SortedFile whose number is in [low, high), in no order."""
    with path.open("rb") as file:
        end = file.seek(-_COUNT.itemsize, os.SEEK_END)
        (count,) = np.frombuffer(file.read(), _COUNT).tolist()
        file.seek(end - count * BATCH.itemsize)
        batches = np.frombuffer(file.read(count * BATCH.itemsize), BATCH)
        return _read(file.fileno(), batches, schema, low, high)


class SortedSpill(_Sorted):
    """A multiset of rows; use it as `with SortedSpill(...) as spill`.

    directory: where the file is made; it takes the rows' size as Arrow tables. schema: of the rows, which
    are ordered as in a `SortedFile`.
    """

    def __init__(self, directory: Path, schema: pa.Schema) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(tempfile.TemporaryFile(dir=directory), directory)  # noqa: SIM115, closed by __exit__
        self._schema = schema

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, low: int, high: int) -> pa.Table:
        """The rows whose number is in [low, high), in no order."""
        batches = self._all_batches()
        return _read(self._file.fileno(), batches, self._schema, low, high).combine_chunks()


def _read(file: int, batches: npt.NDArray[np.void], schema: pa.Schema, low: int, high: int) -> pa.Table:
    """The rows of some batches in a range. The file is read, not mapped: pages of a map count as memory."""
    least, most = np.uint64(low), np.uint64(high - 1)
    found = []
    for _, _, start, end in batches[(batches["first"] <= most) & (batches["last"] >= least)].tolist():
        message = pa.ipc.read_message(pa.BufferReader(os.pread(file, end - start, start)))
        batch = pa.ipc.read_record_batch(message, schema)
        numbers = np.asarray(batch[0])
        first, after = np.searchsorted(numbers, least), np.searchsorted(numbers, most, "right")
        found.append(batch.slice(int(first), int(after - first)))
    return pa.Table.from_batches(found, schema)
