"""What the corpus remembers of links: every URL ever submitted, and every submission counted.

Two sorted arrays per increment, memory-mapped when they are read. A URL costs 28 bytes and a submission 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

URL = np.dtype([("key", "<u8", (2,)), ("karma", "<i8"), ("entered", "<u4")])
"""url_key as two numbers, the running karma, and the number of the increment it entered in (0: not yet)."""


@dataclass(frozen=True)
class LinkIndex:
    """The state of all links before an increment.

    urls: (n,) of URL, sorted by key. submissions: (m,) uint64, sorted.
    """

    urls: npt.NDArray[np.void]
    submissions: npt.NDArray[np.uint64]

    @staticmethod
    def empty() -> LinkIndex:
        return LinkIndex(np.empty(0, URL), np.empty(0, np.uint64))

    @staticmethod
    def load(urls: Path, submissions: Path) -> LinkIndex:
        return LinkIndex(np.load(urls, mmap_mode="r"), np.load(submissions, mmap_mode="r"))

    def find(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Row of each of the (n, 2) keys, or -1."""
        rows = np.full(len(keys), -1, np.int64)
        if len(self.urls) == 0 or len(keys) == 0:
            return rows
        high = self.urls["key"][:, 0]
        start = np.searchsorted(high, keys[:, 0], "left")
        end = np.searchsorted(high, keys[:, 0], "right")
        for shift in range(int((end - start).max(initial=0))):  # once, unless 64-bit halves collide
            row = np.minimum(start + shift, len(high) - 1)
            hit = (start + shift < end) & (self.urls["key"][row, 1] == keys[:, 1])
            rows[hit] = row[hit]
        return rows

    def counted(self, submissions: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of these submissions were counted in an earlier increment."""
        if len(self.submissions) == 0:
            return np.zeros(len(submissions), np.bool_)
        place = np.minimum(np.searchsorted(self.submissions, submissions), len(self.submissions) - 1)
        return np.asarray(self.submissions[place] == submissions)

    def updated(self, urls: npt.NDArray[np.void], submissions: npt.NDArray[np.uint64]) -> LinkIndex:
        """This index with the rows of `urls` added or replaced, and the submissions added."""
        rows = self.find(urls["key"])
        merged = np.concatenate([self.urls, urls[rows < 0]])
        merged[rows[rows >= 0]] = urls[rows >= 0]
        order = np.lexsort((merged["key"][:, 1], merged["key"][:, 0]))
        return LinkIndex(merged[order], np.union1d(self.submissions, submissions))


def key_numbers(keys: list[bytes]) -> npt.NDArray[np.uint64]:
    """(n, 2) numbers of n 16-byte keys; they sort as the bytes do."""
    return np.frombuffer(b"".join(keys), ">u8").astype(np.uint64).reshape(-1, 2)
