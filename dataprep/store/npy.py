"""Arrays in .npy files that are written as a stream and mapped when read, and between Arrow and numpy."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.errors import unreadable

MAPS = 256
"""Files that `Pieces` keeps mapped: each counts as an open file."""


def mapped(path: Path) -> npt.NDArray[Any]:
    """A .npy file as an array that is read where it is touched; raises DataError when it cannot be."""
    return np.asarray(loaded(path, "r"))


def loaded(path: Path, mode: Literal["r"] | None = None) -> npt.NDArray[Any]:
    """A .npy file in memory or ("r") as numpy's own map of it; raises DataError when it cannot be read.

    Arrays of objects are pickles, which execute what a stranger wrote, and are refused.
    """
    try:
        array: npt.NDArray[Any] = np.load(path, mode, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise unreadable(path, error) from None
    return array


def between(rows: npt.NDArray[np.void], field: str, low: int, high: int) -> npt.NDArray[np.void]:
    """The rows whose field is in [low, high), of a structured array that is sorted by it.

    Of a mapped one only some rows are read; numpy's search would copy the whole field.
    """
    start, end = (bisect_left(rows, bound, key=lambda row: int(row[field])) for bound in (low, high))
    return rows[start:end]


class Pieces:
    """The arrays of several files as one array. `take` reads only the rows that it returns."""

    def __init__(self, paths: Sequence[Path], lengths: Sequence[int], dtype: npt.DTypeLike) -> None:
        self._paths, self._dtype = paths, dtype
        self._starts = np.cumsum([0, *lengths])
        self._mapped: dict[int, npt.NDArray[Any]] = {}

    def take(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """(n,) the values at some rows, in the order of these; rows: (n,), in no order."""
        piece_of = np.searchsorted(self._starts, rows, "right") - 1
        order = np.argsort(piece_of, kind="stable")
        bounds = [*changes(piece_of[order]).tolist(), len(rows)]
        found = np.empty(len(rows), self._dtype)
        for here in (order[begin:end] for begin, end in pairwise(bounds)):
            piece = int(piece_of[here[0]])
            found[here] = self._piece(piece)[rows[here] - self._starts[piece]]
        return found

    def _piece(self, number: int) -> npt.NDArray[Any]:
        if number not in self._mapped:
            if len(self._mapped) == MAPS:
                self._mapped.clear()
            self._mapped[number] = mapped(self._paths[number])
        return self._mapped[number]


def changes(ordered: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(n,) the places in an array at which a value stands that is not the one before it."""
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n,) the distinct values, ascending; numpy's `unique` takes 30 ms to import masked arrays first."""
    ordered = np.sort(values)
    return ordered[changes(ordered)]


def fixed_width(column: pa.ChunkedArray) -> npt.NDArray[np.void]:
    """(n,) of V16, say, from a column of fixed-size binary without nulls."""
    array, width = column.combine_chunks(), column.type.byte_width
    if isinstance(array, pa.ChunkedArray):  # of no chunk
        return np.empty(0, f"V{width}")
    whole = np.frombuffer(array.buffers()[1], f"V{width}")
    return whole[array.offset : array.offset + len(array)]


def fixed_width_column(array: npt.NDArray[np.void]) -> pa.Array:
    """The other way."""
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(array.dtype.itemsize), len(array), [None, pa.py_buffer(np.ascontiguousarray(array))]
    )


class ArrayWriter:
    """Writes a one-dimensional .npy file piece by piece; its length stands in the header at the end."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self.rows = 0
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")
        self._header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.seek(0)
        self._header()
        self._file.close()

    def write(self, array: npt.NDArray[Any]) -> None:
        self.rows += len(array)
        self._file.write(np.ascontiguousarray(array, self._dtype).view(np.uint8).data)

    def _header(self) -> None:
        """The format leaves room for any length, so the header's own length never changes."""
        description = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": description, "fortran_order": False, "shape": (self.rows,)}
        np.lib.format.write_array_header_1_0(self._file, header)
