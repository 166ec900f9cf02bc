"""The second step of a pack: the sorted runs of an increment merged into token shards.

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.pack import manifest
from dataprep.pack.manifest import DOCUMENT
from dataprep.pack.runs import ROW, Job, Run
from dataprep.store.files import attempt_path, publish, publish_array
from dataprep.store.records import Record, commit, done
from dataprep.store.tars import append, open_tar

STAGE = "pack"
BUCKET_TOKENS = 4 << 20


SOURCE = np.dtype([*ROW.descr, ("tokens", "<i8"), ("run", "<i4")])
"""A document and where its tokens come from."""


@dataclass(frozen=True)
class Plan:
    """Where the buckets of one split of an increment start."""

    stem: str
    runs: list[Run]
    bucket_starts: npt.NDArray[np.int64]
    """(buckets + 1,): in tokens from the start of the stream; the last is its length."""

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


def plan(job: Job, stem: str, runs: list[Run]) -> Plan:
    """Count the tokens of each bucket of an increment's split."""
    sizes = [run.tokens.stat().st_size // np.dtype(job.dtype).itemsize for run in runs]
    buckets = 1 << (sum(sizes) // BUCKET_TOKENS).bit_length()
    counts = np.zeros(buckets, np.int64)
    for run, size in zip(runs, sizes, strict=True):
        table = np.load(run.table)
        np.add.at(counts, _bucket(table["key"], buckets), _lengths(table, size))
    return Plan(stem, runs, np.concatenate([[0], np.cumsum(counts)]))


def run_part(job: Job, directory: Path, plan: Plan, number: int, tick: Callable[[int], None]) -> Record:
    """Write shard `number` of a split, with its tables of documents and counts; tick(1) a block."""
    stem = f"{plan.stem}-{number:05d}"
    path = directory / f"{stem}.json"
    # the name of the directory stands for all inputs: text shards, tokenizer, layout
    if record := done(path, {}):
        tick(len(record.notes["blocks"]))
        return record
    first = number * job.shard_tokens
    length = min(job.shard_tokens, plan.tokens - first)
    low, high = plan.buckets_of(first, first + length)
    documents = _documents(job, plan, low, high)
    skipped = first - int(plan.bucket_starts[low])

    counts, blocks = np.zeros(job.vocab_size, np.int64), []
    written = attempt_path(job.tokens, stem)
    with written.open("wb") as file, open_tar(file) as tar:
        pieces = _gathered(job, plan, documents)
        for place, block in enumerate(_cut(pieces, skipped, length, job.block_tokens)):
            blocks.append([append(tar, f"{stem}-{place:05d}.bin", block.tobytes()), len(block)])
            counts += np.bincount(block, minlength=job.vocab_size)
            tick(1)

    starts = np.cumsum(documents["tokens"]) - documents["tokens"] - skipped
    inside = (starts >= 0) & (starts < length)
    table = np.empty(int(inside.sum()), DOCUMENT)
    table["start"], table["doc_id"] = starts[inside], documents["doc_id"][inside]
    outputs = [
        publish(job.tokens, written, stem, ".tar"),
        publish_array(job.tokens, job.tokens, f"{stem}.docs", table),
        publish_array(job.tokens, job.tokens, f"{stem}.counts", counts),
    ]
    notes = {"tokens": length, "blocks": blocks}
    return commit(path, Record(STAGE, stem, {}, outputs, len(table), len(table), notes=notes))


def entry(record: Record) -> dict[str, Any]:
    """A shard as generations list it."""
    tar, documents, counts = record.outputs
    notes = record.notes
    return manifest.entry(tar, documents, counts, notes["tokens"], record.passed, notes["blocks"])


def _documents(job: Job, plan: Plan, low: int, high: int) -> npt.NDArray[np.void]:
    """The documents of buckets `low` to `high` in the order of the stream, (documents,) SOURCE."""
    width = (1 << 64) // plan.buckets
    found = []
    for number, run in enumerate(plan.runs):
        table = np.load(run.table, mmap_mode="r")  # of which a search touches few pages
        size = run.tokens.stat().st_size // np.dtype(job.dtype).itemsize
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


def _gathered(job: Job, plan: Plan, documents: npt.NDArray[np.void]) -> Iterator[npt.NDArray[Any]]:
    """The tokens of documents in their order, a bucket at a time."""
    itemsize = np.dtype(job.dtype).itemsize
    edges = np.flatnonzero(np.diff(_bucket(documents["key"], plan.buckets))) + 1
    for bucket in np.split(documents, edges):
        stream = np.empty(int(bucket["tokens"].sum()), job.dtype)
        bucket_ends = np.cumsum(bucket["tokens"])
        by_run = np.argsort(bucket["run"], kind="stable")
        for places in np.split(by_run, np.flatnonzero(np.diff(bucket["run"][by_run])) + 1):
            rows = bucket[places]  # neighbours in their run
            tokens = np.fromfile(
                plan.runs[rows["run"][0]].tokens,
                job.dtype,
                int(rows["tokens"].sum()),
                offset=int(rows["start"][0]) * itemsize,
            )
            lengths = rows["tokens"].tolist()
            for end, taken, length in zip(
                bucket_ends[places].tolist(), np.cumsum(lengths).tolist(), lengths, strict=True
            ):
                stream[end - length : end] = tokens[taken - length : taken]
        yield stream


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
