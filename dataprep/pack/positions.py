"""Where documents lie in the token streams of a generation.

A shard's `.docs.npy` tells the documents that begin in it; the last one may go on in the next shards of its
increment. A position is counted in tokens from the start of its split's stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataprep.errors import DataError
from dataprep.pack.manifest import ERASED, Generation, read_table
from dataprep.store.npy import fixed_width_column


@dataclass(frozen=True)
class Span:
    """The tokens [start, end) of a document in the stream of a split, its end-of-text included."""

    split: str
    start: int
    end: int
    doc_id: bytes


def document_at(tokens: Path, generation: Generation, split: str, position: int) -> Span:
    """The document that a token belongs to; raises DataError when the split does not reach so far.

    Reads the table of the token's shard, and of neighbours if the document begins or ends there.
    """
    if split not in generation.splits:
        raise DataError(f"--split {split}: {tokens} has {', '.join(generation.splits)}")
    shards = generation.splits[split].shards
    firsts = np.cumsum([0, *(shard.tokens for shard in shards)])
    if not 0 <= position < firsts[-1]:
        raise DataError(f"--position {position}: {split} in {tokens} has {firsts[-1]:,} tokens, from 0 on")
    at = int(np.searchsorted(firsts, position, "right")) - 1
    for shard in range(at, -1, -1):
        table = read_table(tokens, shards[shard])
        before = int(np.searchsorted(table["start"], position - firsts[shard], "right"))
        if before:
            break
    start, doc_id = table[before - 1].tolist()
    ends = (int(firsts[shard] + end) for end in table["start"][before : before + 1])
    later = (
        int(firsts[number] + end)
        for number in range(shard + 1, len(shards))
        for end in read_table(tokens, shards[number])["start"][:1]
    )
    end = next(chain(ends, later), int(firsts[-1]))
    return Span(split, int(firsts[shard]) + start, end, bytes(doc_id))


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
