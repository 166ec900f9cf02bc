"""Our loader as `outbound train` reads with it: order, mapped shards, stream hash, prefetching."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from contender import BATCH, CONTEXT, Batch, time_it

from pipeline.data import loader
from pipeline.data.sources import Samples, Sources


def read(directory: Path, sample: int, setting: str) -> Iterator[Batch]:
    """The setting is the order's block, and "unhashed" when the stream hash is to be left out."""
    block, _, unhashed = setting.partition(" ")
    if unhashed:
        loader.sample_hashes = lambda places, rows: [0] * len(rows)
    sources = Sources.load({"": (directory / "ours", None, 1.0)})
    samples = Samples.of(sources, CONTEXT, 0, int(block))
    batches = loader.TrainLoader(samples.rows, eot=sources.eot, micro=BATCH, dp_rank=0, dp_size=1).batches
    while True:
        yield from batches(sample, BATCH)
        sample += BATCH


time_it(read)
