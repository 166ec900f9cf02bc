"""mosaicml-streaming over MDS shards of uint16, one sequence a sample, shuffled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
from contender import BATCH, CONTEXT, Batch, tensors, time_it

# It imports its part for images, which wants a torchvision that was built for the very same torch.
sys.modules["streaming.vision"] = ModuleType("streaming.vision")


def write(directory: Path) -> None:
    """Its own default of 64 MB a shard."""
    from streaming import MDSWriter

    stream = np.memmap(directory / "train.bin", dtype=np.uint16, mode="r")
    with MDSWriter(out=str(directory / "mds"), columns={"tokens": f"ndarray:uint16:{CONTEXT + 1}"}) as out:
        for first in range(0, len(stream) - CONTEXT, CONTEXT):
            out.write({"tokens": np.array(stream[first : first + CONTEXT + 1])})


def read(directory: Path, sample: int, setting: str) -> Iterator[Batch]:
    """It can begin at a sample."""
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    data = StreamingDataset(
        local=str(directory / "mds"), shuffle=True, shuffle_seed=0, batch_size=BATCH, num_canonical_nodes=1
    )
    loader = StreamingDataLoader(
        data,
        batch_size=BATCH,
        num_workers=0,
        collate_fn=lambda rows: np.stack([row["tokens"] for row in rows]),
    )
    if sample:
        data.load_state_dict(
            {
                "epoch": 0,
                "sample_in_epoch": sample,
                "num_canonical_nodes": 1,
                "shuffle_seed": 0,
                "initial_physical_nodes": 1,
            }
        )
    while True:
        yield from map(tensors, loader)


if sys.argv[2:] == ["write"]:
    write(Path(sys.argv[1]))
else:
    time_it(read)
