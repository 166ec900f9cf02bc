"""litdata's TokensLoader over chunks of uint16, shuffled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from contender import BATCH, CONTEXT, Batch, tensors, time_it
from litdata import StreamingDataLoader, StreamingDataset, TokensLoader
from litdata.streaming import Cache


def write(directory: Path) -> None:
    """Cut the stream into chunks of 16 MB, documents of 1,025 tokens: one sample each."""
    stream = np.memmap(directory / "train.bin", dtype=np.uint16, mode="r")
    cache = Cache(str(directory / "litdata"), chunk_bytes=16 << 20, item_loader=TokensLoader(CONTEXT + 1))
    for index, first in enumerate(range(0, len(stream) - CONTEXT, CONTEXT)):
        cache[index] = np.array(stream[first : first + CONTEXT + 1])
    cache.done()
    cache.merge()


def read(directory: Path, sample: int, setting: str) -> Iterator[Batch]:
    """It can begin at a sample."""
    data = StreamingDataset(
        str(directory / "litdata"), item_loader=TokensLoader(CONTEXT + 1), shuffle=True, seed=0
    )
    loader = StreamingDataLoader(data, batch_size=BATCH, num_workers=0, collate_fn=np.stack)
    if sample:
        state = {"dataset": data.state_dict(sample, 0, BATCH), "num_samples_yielded": sample}
        loader.load_state_dict(loader.state_dict() | state)
    while True:
        yield from map(tensors, loader)


if sys.argv[2:] == ["write"]:
    write(Path(sys.argv[1]))
else:
    time_it(read)
