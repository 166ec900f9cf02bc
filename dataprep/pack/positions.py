"""Where documents lie in the token streams of a generation.

A shard's `.docs.npy` tells the documents that begin in it; the last one may go on in the next shards of its
increment. A position is counted in tokens from the start of its split's stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.errors import DataError
from dataprep.pack.manifest import DOCUMENT, ERASED, Generation, read_table
from dataprep.store.npy import fixed_width_column


@dataclass(frozen=True)
class Span:
    """The tokens [start, end) of a document in the stream of a split, its end-of-text included."""

    split: str
    start: int
    end: int
    doc_id: bytes


class Documents:
    """The documents of a split's stream, by position. Holds the table of the shard that was read last."""

    def __init__(self, tokens: Path, generation: Generation, split: str) -> None:
        """Raises DataError when the generation has no such split."""
        if split not in generation.splits:
            raise DataError(f"--split {split}: {tokens} has {', '.join(generation.splits)}")
        self.tokens, self.split = tokens, split
        self._shards = generation.splits[split].shards
        self._firsts = np.cumsum([0, *(shard.tokens for shard in self._shards)])
        self._table: tuple[int, npt.NDArray[np.void]] = (-1, np.empty(0, DOCUMENT))

    def within(self, start: int, end: int) -> Iterator[Span]:
        """The documents that the tokens [start, end) belong to, whole, in their order.

        Raises DataError when the split does not reach so far. Reads the tables of the shards that hold these
        tokens, and of neighbours if a document begins or ends there.
        """
        if not 0 <= start < end <= self._firsts[-1]:
            held = f"{self.split} in {self.tokens} has {self._firsts[-1]:,} tokens, from 0 on"
            raise DataError(f"--position {start}: {held}")
        shard = int(np.searchsorted(self._firsts, start, "right")) - 1
        while not (
            row := int(np.searchsorted(self._of(shard)["start"], start - self._firsts[shard], "right"))
        ):
            shard -= 1
        begins = self._from(shard, row - 1)
        begin, doc_id = next(begins)
        while begin < end:
            following, next_id = next(begins, (int(self._firsts[-1]), b""))
            yield Span(self.split, begin, following, doc_id)
            begin, doc_id = following, next_id

    def _from(self, shard: int, row: int) -> Iterator[tuple[int, bytes]]:
        """Where documents begin in the stream, and their doc_ids, from one of a shard on."""
        for number in range(shard, len(self._shards)):
            for place in range(row if number == shard else 0, len(self._of(number))):
                start, doc_id = self._of(number)[place].tolist()
                yield int(self._firsts[number]) + start, bytes(doc_id)

    def _of(self, shard: int) -> npt.NDArray[np.void]:
        if self._table[0] != shard:
            self._table = shard, read_table(self.tokens, self._shards[shard])
        return self._table[1]


def document_at(tokens: Path, generation: Generation, split: str, position: int) -> Span:
    """The document that a token belongs to; raises as `Documents`."""
    return next(Documents(tokens, generation, split).within(position, position + 1))


def lengths(tokens: Path, generation: Generation) -> pa.Table:
    """`doc_id` and `tokens` of each document or piece of a generation, its end-of-text counted, but for what
    was forgotten. Memory: some 100 bytes a document."""
    tables = [pa.table({"doc_id": pa.array([], pa.binary(16)), "tokens": pa.array([], pa.int64())})]
    for split in generation.splits.values():
        found = [read_table(tokens, shard) for shard in split.shards]
        firsts = np.cumsum([0, *(shard.tokens for shard in split.shards)])
        starts = [
            table["start"].astype(np.int64) + first for table, first in zip(found, firsts, strict=False)
        ]
        size = np.diff(np.concatenate([*starts, firsts[-1:]]))
        doc_ids = np.concatenate([np.empty(0, "V16"), *(table["doc_id"] for table in found)])
        stands = doc_ids != np.void(ERASED)
        columns = {"doc_id": fixed_width_column(doc_ids[stands]), "tokens": size[stands]}
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def places_of(tokens: Path, generation: Generation, doc_id: bytes) -> list[Span]:
    """Where a document lies: once, or once for each of its pieces. Memory: the table of one shard."""
    found = []
    for split, body in generation.splits.items():
        first = 0
        for shard in body.shards:
            table = read_table(tokens, shard)
            starts = table["start"][table["doc_id"] == np.void(doc_id)]
            found += [document_at(tokens, generation, split, first + start) for start in starts.tolist()]
            first += shard.tokens
    return found
