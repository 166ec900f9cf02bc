"""The posts of an increment that give a link, before it is known which URLs enter: too many for memory.

They are spilled by URL key, and their submission ids a second time by number, since each submission counts
once over the whole corpus. Memory: two runs of a spill, and one bit a post.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dataprep.links.dumps import Submission
from dataprep.links.index import LinkIndex, scattered
from dataprep.links.rules import LinkFilter, Post
from dataprep.store.external_sort import SortedSpill
from dataprep.store.npy import ArrayWriter

BATCH = 8192
"""Posts that are held as Python objects."""

POSTS = pa.schema(
    [
        ("key_high", pa.uint64()),
        ("key_low", pa.uint64()),
        ("number", pa.uint64()),
        ("place", pa.uint64()),
        ("created_utc", pa.int64()),
        ("score", pa.int64()),
        ("id", pa.string()),
        ("subreddit", pa.string()),
        ("url", pa.string()),
        ("site", pa.string()),
    ]
)
"""number: the submission's id as a number. place: the posts before this one, in the order of reading."""

_NUMBERS = pa.schema([("scattered", pa.uint64()), ("place", pa.uint64())])


class CollectedPosts:
    """Posts by URL key, and why the other submissions were left; used as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.entered = 0
        self.reasons: Counter[str] = Counter()
        self.posts = SortedSpill(directory, POSTS)
        self._numbers = SortedSpill(directory, _NUMBERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.posts.__exit__(kind, error, trace)
        self._numbers.__exit__(kind, error, trace)

    def collect(
        self, blocks: Iterable[list[Submission]], link_filter: LinkFilter, tick: Callable[[int], None]
    ) -> None:
        """Sort submissions into posts and reasons; `tick` counts submissions."""
        batch: list[Post] = []
        for submissions in blocks:
            posts, reasons = link_filter(submissions)
            self.entered += len(submissions)
            self.reasons.update(reasons)
            batch += posts
            if len(batch) >= BATCH:
                self._spill(batch)
                batch = []
            tick(len(submissions))
        self._spill(batch)

    def repeats(
        self, bounds: list[tuple[int, int]], previous: LinkIndex, index: ArrayWriter
    ) -> npt.NDArray[np.uint8]:
        """Which posts repeat a submission that was counted before, one bit each in the order of places.

        Writes all submissions that are counted now to `index`. Memory: the submissions of a range.
        """
        repeated = np.zeros(self.posts.rows // 8 + 1, np.uint8)
        for low, high in bounds:
            table = self._numbers.read(low, high)
            numbers, places = table["scattered"].to_numpy(), table["place"].to_numpy()
            order = np.lexsort((places, numbers))
            numbers, places = numbers[order], places[order]
            counted = previous.submissions_in(low, high)
            again = np.isin(numbers, counted)
            again[1:] |= numbers[1:] == numbers[:-1]
            places = places[again]
            np.bitwise_or.at(repeated, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))
            index.write(np.union1d(counted, numbers))
        return repeated

    def _spill(self, batch: list[Post]) -> None:
        if not batch:
            return
        keys = b"".join([post.link.key for post in batch])
        halves = np.frombuffer(keys, ">u8").astype(np.uint64).reshape(-1, 2)
        numbers = np.array([submission_number(post.id) for post in batch], np.uint64)
        places = np.arange(self.posts.rows, self.posts.rows + len(batch), dtype=np.uint64)
        columns = [
            halves[:, 0],
            halves[:, 1],
            numbers,
            places,
            [post.created_utc for post in batch],
            [post.score for post in batch],
            [post.id for post in batch],
            [post.subreddit for post in batch],
            [post.link.url for post in batch],
            [post.link.site for post in batch],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, POSTS, strict=True)]
        self.posts.add(pa.Table.from_arrays(arrays, schema=POSTS))
        self._numbers.add(pa.Table.from_arrays([scattered(numbers), places], schema=_NUMBERS))


def submission_number(identifier: str) -> int:
    """A submission's id (base 36) as a number below 2^64; an id of another form by its hash."""
    try:
        value = int(identifier, 36)
        return value if 0 <= value < 1 << 63 else xxhash.xxh3_64_intdigest(identifier.encode())
    except ValueError:
        return xxhash.xxh3_64_intdigest(identifier.encode())
