"""Step `merge`: the sorted runs of an increment merged into token shards.

The order of an increment's documents is that of a keyed hash of their doc_ids. Hashes are even, so the merge
goes by buckets, ranges of hashes that hold some million tokens over all runs: a bucket is a contiguous range
of every run, read in one piece each, put in order in memory, and written. Where a bucket starts in the stream
is known from the tables alone, so that every shard is a task by itself.

Memory of a task: two buckets (of up to BUCKET_TOKENS in the mean, and what the longest document adds), a
block, and some 100 bytes for each document of the shard. Memory of the plan: the table of a run and 8 bytes a
bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.pack.manifest import DOCUMENT, SPLITS, Shard
from dataprep.pack.packing import Packing
from dataprep.pack.tokenize import ROW
from dataprep.store.files import Output, attempt_path, publish, publish_array
from dataprep.store.npy import loaded
from dataprep.store.records import Record
from dataprep.store.step import Made, Part, Save, Task, read_step
from dataprep.store.tars import append, open_tar

VERSION = 1
"""Another number when other shards come out."""
BUCKET_TOKENS = 4 << 20
SOURCE = np.dtype([*ROW.descr, ("tokens", "<i8"), ("run", "<i4")])
"""A document and where its tokens come from."""


@dataclass(frozen=True, kw_only=True)
class TokenRun:
    """One split of a tokenised text shard."""

    tokens: Path
    table: Path


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One split of an increment: its runs, and where its buckets start.

    bucket_starts: (buckets + 1,): in tokens from the start of the stream; the last is its length.
    """

    runs: list[TokenRun]
    bucket_starts: npt.NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """Length of the stream."""
        return int(self.bucket_starts[-1])

    @property
    def buckets(self) -> int:
        """How many; a power of two."""
        return len(self.bucket_starts) - 1

    def buckets_of(self, first: int, last: int) -> tuple[int, int]:
        """The first and last bucket that hold any of the tokens [first, last)."""
        low, high = np.searchsorted(self.bucket_starts, [first, last - 1], "right") - 1
        return int(low), int(high)


@dataclass(frozen=True, kw_only=True)
class ShardNotes:
    """Notes of a shard: its tokens, and the byte offset and tokens of each block."""

    tokens: int = 0
    blocks: list[tuple[int, int]] = field(default_factory=list)


def versions(scope: Packing) -> dict[str, str]:
    """What decides the shards."""
    return {"merge": str(VERSION)}


def plan(scope: Packing, save: Save) -> list[Part]:
    """The shards of each split of each new increment. Saves where the buckets of each start."""
    parts = []
    for increment in scope.increments:
        for split in SPLITS:
            name = f"{split}-{increment}"
            starts = _bucket_starts(scope, _runs(scope, increment, split))
            save(name, starts)
            tokens = int(starts[-1])
            for number, first in enumerate(range(0, tokens, scope.shard_tokens)):
                blocks = -(-min(scope.shard_tokens, tokens - first) // scope.block_tokens)
                spec = {"split": split, "increment": increment, "number": number}
                parts.append(Part(name=f"{name}-{number:05d}", size=blocks, spec=spec))
    return parts


def run(task: Task[Packing]) -> Made:
    """Write one shard of a split, with its tables of documents and counts."""
    scope, spec, stem = task.scope, task.part.spec, task.part.name
    starts = task.planned[f"{spec['split']}-{spec['increment']}"]
    stream = Stream(
        runs=_runs(scope, spec["increment"], spec["split"]), bucket_starts=loaded(scope.root / starts.path)
    )
    first = spec["number"] * scope.shard_tokens
    length = min(scope.shard_tokens, stream.tokens - first)
    low, high = stream.buckets_of(first, first + length)
    documents = _documents(scope, stream, low, high)
    skipped = first - int(stream.bucket_starts[low])

    counts, blocks = np.zeros(scope.identity.vocab_size, np.int64), list[tuple[int, int]]()
    written = attempt_path(scope.tokens, stem)
    with written.open("wb") as file, open_tar(file) as tar:
        pieces = _gathered(scope, stream, documents)
        for place, block in enumerate(_cut(pieces, skipped, length, scope.block_tokens)):
            blocks.append((append(tar, f"{stem}-{place:05d}.bin", block.tobytes()), len(block)))
            counts += np.bincount(block, minlength=scope.identity.vocab_size)
            task.tick(1)

    starts_of = np.cumsum(documents["tokens"]) - documents["tokens"] - skipped
    inside = (starts_of >= 0) & (starts_of < length)
    table = np.empty(int(inside.sum()), DOCUMENT)
    table["start"], table["doc_id"] = starts_of[inside], documents["doc_id"][inside]
    return Made(
        outputs=publish_shard(scope.tokens, written, stem, table, counts),
        entered=len(table),
        passed=len(table),
        notes=ShardNotes(tokens=length, blocks=blocks),
    )


def publish_shard(
    tokens: Path, written: Path, stem: str, table: npt.NDArray[np.void], counts: npt.NDArray[np.int64]
) -> dict[str, Output]:
    """Publish a tar that was written, and the arrays beside it."""
    return {
        "tar": publish(tokens, written, stem, ".tar"),
        "table": publish_array(tokens, tokens, f"{stem}.docs", table),
        "counts": publish_array(tokens, tokens, f"{stem}.counts", counts),
    }


def entry(record: Record) -> Shard:
    """A shard as generations list it."""
    notes = record.noted(ShardNotes)
    return Shard(**record.outputs, tokens=notes.tokens, documents=record.passed, blocks=notes.blocks)


def _runs(scope: Packing, increment: str, split: str) -> list[TokenRun]:
    """The runs of one split of an increment, in the order of its text shards."""
    return [
        TokenRun(
            tokens=scope.root / part.outputs[f"{split}/tokens"].path,
            table=scope.root / part.outputs[f"{split}/table"].path,
        )
        for part in read_step(scope, "tokenize").parts
        if part.part.startswith(f"{increment}-")
    ]


def _bucket_starts(scope: Packing, runs: list[TokenRun]) -> npt.NDArray[np.int64]:
    """Count the tokens of each bucket of an increment's split."""
    sizes = [run.tokens.stat().st_size // np.dtype(scope.dtype).itemsize for run in runs]
    buckets = 1 << (sum(sizes) // BUCKET_TOKENS).bit_length()
    counts = np.zeros(buckets, np.int64)
    for run, size in zip(runs, sizes, strict=True):
        table = np.load(run.table)
        np.add.at(counts, _bucket(table["key"], buckets), _lengths(table, size))
    return np.concatenate([[0], np.cumsum(counts)])


def _documents(scope: Packing, stream: Stream, low: int, high: int) -> npt.NDArray[np.void]:
    """The documents of buckets `low` to `high` in the order of the stream, (documents,) SOURCE."""
    width = (1 << 64) // stream.buckets
    found = []
    for number, run in enumerate(stream.runs):
        table = np.load(run.table, mmap_mode="r")  # of which a search touches few pages
        size = run.tokens.stat().st_size // np.dtype(scope.dtype).itemsize
        begin = bisect_left(table["key"], low * width)
        end = bisect_left(table["key"], (high + 1) * width)
        rows = table[begin:end]
        documents = np.empty(len(rows), SOURCE)
        for name in ("key", "doc_id", "start"):
            documents[name] = rows[name]
        documents["tokens"] = _lengths(rows, int(table["start"][end]) if end < len(table) else size)
        documents["run"] = number
        found.append(documents)
    documents = np.concatenate(found)
    halves = np.frombuffer(documents["doc_id"].tobytes(), ">u8").reshape(-1, 2).T
    return documents[np.lexsort((halves[1], halves[0], documents["key"]))]


def _gathered(scope: Packing, stream: Stream, documents: npt.NDArray[np.void]) -> Iterator[npt.NDArray[Any]]:
    """The tokens of documents in their order, a bucket at a time."""
    itemsize = np.dtype(scope.dtype).itemsize
    edges = np.flatnonzero(np.diff(_bucket(documents["key"], stream.buckets))) + 1
    for bucket in np.split(documents, edges):
        gathered = np.empty(int(bucket["tokens"].sum()), scope.dtype)
        bucket_ends = np.cumsum(bucket["tokens"])
        by_run = np.argsort(bucket["run"], kind="stable")
        for places in np.split(by_run, np.flatnonzero(np.diff(bucket["run"][by_run])) + 1):
            rows = bucket[places]  # neighbours in their run
            tokens = np.fromfile(
                stream.runs[rows["run"][0]].tokens,
                scope.dtype,
                int(rows["tokens"].sum()),
                offset=int(rows["start"][0]) * itemsize,
            )
            lengths = rows["tokens"].tolist()
            for end, taken, length in zip(
                bucket_ends[places].tolist(), np.cumsum(lengths).tolist(), lengths, strict=True
            ):
                gathered[end - length : end] = tokens[taken - length : taken]
        yield gathered


def _cut(
    pieces: Iterator[npt.NDArray[Any]], skip: int, length: int, block_tokens: int
) -> Iterator[npt.NDArray[Any]]:
    """Tokens [skip, skip + length) of a stream in blocks of block_tokens, the last one shorter."""
    rest = next(pieces)[skip:]
    while length:
        wanted = min(block_tokens, length)
        taken = [rest[:wanted]]
        rest = rest[wanted:]
        while (missing := wanted - sum(map(len, taken))) > 0:
            rest = next(pieces)
            taken.append(rest[:missing])
            rest = rest[missing:]
        yield np.concatenate(taken)
        length -= wanted


def _lengths(rows: npt.NDArray[np.void], end: int) -> npt.NDArray[np.int64]:
    """Tokens of each of some neighbours in a run that end at `end`."""
    starts = np.append(rows["start"], np.uint64(end)).astype(np.int64)
    return starts[1:] - starts[:-1]


def _bucket(keys: npt.NDArray[np.uint64], buckets: int) -> npt.NDArray[np.int64]:
    """The bucket of each key: its highest bits. (In two shifts: one of all 64 bits is undefined.)"""
    bits = buckets.bit_length() - 1
    return ((keys >> np.uint64(1)) >> np.uint64(63 - bits)).astype(np.int64)
