"""nanoGPT's way: random offsets into one file, mapped anew for each batch, as it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from contender import BATCH, CONTEXT, Batch, time_it


def read(directory: Path, sample: int, setting: str) -> Iterator[Batch]:
    """There is no order, and so no sample to begin at."""
    while True:
        stream = np.memmap(directory / "train.bin", dtype=np.uint16, mode="r")
        starts = torch.randint(len(stream) - CONTEXT, (BATCH,)).tolist()
        inputs = [torch.from_numpy(stream[n : n + CONTEXT].astype(np.int64)) for n in starts]
        targets = [torch.from_numpy(stream[n + 1 : n + 1 + CONTEXT].astype(np.int64)) for n in starts]
        yield torch.stack(inputs), torch.stack(targets)


time_it(read)
