"""What the corpus remembers of links: every URL ever submitted, and every submission counted.

Two sorted arrays per increment, each in pieces that follow one another: the parts of a step write one piece
each. Pieces are mapped and read range by range. A URL costs 28 bytes and a submission 8.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import INDEX, Corpus, Increment, Index
from dataprep.errors import DataError
from dataprep.store.files import Output, attempt_path, publish
from dataprep.store.npy import mapped
from dataprep.store.records import origin

URL = np.dtype([("key", "<u8", (2,)), ("karma", "<i8"), ("entered", "<u4")])
"""url_key as two numbers, the running karma, and the number of the increment it entered in (0: not yet)."""


@dataclass(frozen=True)
class LinkIndex:
    """The state of all links before an increment: the files that hold the pieces, none of them empty.

    urls: of URL, sorted by key. submissions: of uint64, sorted; ids as `scattered` numbers.
    """

    urls: Sequence[Path]
    submissions: Sequence[Path]

    @staticmethod
    def load(root: Path, index: Index) -> LinkIndex:
        urls, submissions = (
            [root / piece.path for piece in pieces if piece.rows]
            for pieces in (index.urls, index.submissions)
        )
        return LinkIndex(urls, submissions)

    def urls_in(self, low: int, high: int) -> npt.NDArray[np.void]:
        """A copy in memory of the URLs whose key's first half is in [low, high)."""
        return _within(self.urls, URL, low, high, lambda row: int(row["key"][0]))

    def submissions_in(self, low: int, high: int) -> npt.NDArray[np.uint64]:
        """A copy in memory of the submissions in [low, high)."""
        return _within(self.submissions, np.uint64, low, high, int)


def index_before(corpus: Corpus, increment: Increment) -> tuple[Index, dict[str, str]]:
    """The index that the increment before this one left, and what it is called among inputs."""
    before = corpus.before(increment)
    if before is None:
        return Index([], []), {}
    index = corpus.index(before)
    if index is None:
        raise DataError(f"{before.path}: links are not finished; run its command again")
    return index, {f"{before.path.name}/links": origin(before.path, "links")}


def index_attempt(corpus: Corpus, increment: Increment, piece: str) -> Path:
    """Where a piece of the index of an increment is written; its name begins with `urls` or `submissions`."""
    return attempt_path(corpus.root / INDEX, f"{increment.key}-{piece}")


def publish_index(corpus: Corpus, increment: Increment, piece: str, written: Path, rows: int) -> Output:
    """Publish what was written there."""
    return publish(corpus.root, written, f"{increment.key}-{piece}", ".npy", rows)


def _within(
    pieces: Sequence[Path], dtype: npt.DTypeLike, low: int, high: int, number: Callable[[Any], int]
) -> npt.NDArray[Any]:
    """A copy of what lies in [low, high). One piece is open at a time, however many there are."""
    found = [np.empty(0, dtype)]
    first = bisect_left(pieces, low, key=lambda path: number(mapped(path)[-1]))
    for path in pieces[first:]:
        piece = mapped(path)
        start, end = (bisect_left(piece, bound, key=number) for bound in (low, high))
        if start == end:
            break
        found.append(np.array(piece[start:end]))
    return np.concatenate(found)


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
