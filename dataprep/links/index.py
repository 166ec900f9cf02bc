"""What the corpus remembers of links: every URL ever submitted, and every submission counted.

Two sorted arrays per increment, mapped, read range by range, and written as a stream. A URL costs 28 bytes
and a submission 8.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.store.npy import loaded

URL = np.dtype([("key", "<u8", (2,)), ("karma", "<i8"), ("entered", "<u4")])
"""url_key as two numbers, the running karma, and the number of the increment it entered in (0: not yet)."""


@dataclass(frozen=True)
class LinkIndex:
    """The state of all links before an increment, or a range of it.

    urls: (n,) of URL, sorted by key. submissions: (m,) uint64, sorted; ids as `scattered` numbers.
    """

    urls: npt.NDArray[np.void]
    submissions: npt.NDArray[np.uint64]

    @staticmethod
    def empty() -> LinkIndex:
        return LinkIndex(np.empty(0, URL), np.empty(0, np.uint64))

    @staticmethod
    def load(urls: Path, submissions: Path) -> LinkIndex:
        return LinkIndex(loaded(urls, "r"), loaded(submissions, "r"))

    def urls_in(self, low: int, high: int) -> npt.NDArray[np.void]:
        """A copy in memory of the URLs whose key's first half is in [low, high)."""

        def place(bound: int) -> int:
            return bisect_left(self.urls, bound, key=lambda row: int(row["key"][0]))

        return _read(self.urls, place(low), place(high))

    def submissions_in(self, low: int, high: int) -> npt.NDArray[np.uint64]:
        """A copy in memory of the submissions in [low, high)."""
        start, end = bisect_left(self.submissions, low), bisect_left(self.submissions, high)
        return _read(self.submissions, start, end)


def _read(array: npt.NDArray[Any], start: int, end: int) -> npt.NDArray[Any]:
    """A copy of a part of an array; a mapped one is read from its file, as pages of a map count as memory."""
    if isinstance(array, np.memmap) and array.filename:
        offset = array.offset + start * array.itemsize
        return np.fromfile(array.filename, array.dtype, end - start, offset=offset)
    return np.array(array[start:end])


def find(urls: npt.NDArray[np.void], keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Row of each of the (n, 2) keys in sorted URLs, or -1."""
    rows = np.full(len(keys), -1, np.int64)
    if len(urls) == 0 or len(keys) == 0:
        return rows
    high = np.ascontiguousarray(urls["key"][:, 0])
    start = np.searchsorted(high, keys[:, 0], "left")
    end = np.searchsorted(high, keys[:, 0], "right")
    for shift in range(int((end - start).max(initial=0))):  # once, unless 64-bit halves collide
        row = np.minimum(start + shift, len(high) - 1)
        hit = (start + shift < end) & (urls["key"][row, 1] == keys[:, 1])
        rows[hit] = row[hit]
    return rows


def merged(
    urls: npt.NDArray[np.void], rows: npt.NDArray[np.int64], updates: npt.NDArray[np.void]
) -> npt.NDArray[np.void]:
    """Sorted URLs with `updates` (sorted) in place of those at `rows`, or between them where a row is -1."""
    result = urls.copy()
    result[rows[rows >= 0]] = updates[rows >= 0]
    result = np.concatenate([result, updates[rows < 0]])
    return result[np.lexsort((result["key"][:, 1], result["key"][:, 0]))]


def scattered(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Numbers spread evenly over 64 bits, one to one, so that ranges of them are equally full.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 17).
    """
    mixed = numbers ^ (numbers >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
