"""What all contenders do alike: from rows of tokens to what a model takes, and how they are timed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

CONTEXT, BATCH = 1024, 12
WARM_UP = 100
"""Batches that are read before the clock starts."""

Batch = tuple[torch.Tensor, torch.Tensor]


def tensors(rows: Any) -> Batch:
    """Inputs and targets, (BATCH, CONTEXT) int64 each, of (BATCH, CONTEXT + 1) tokens: two views of one."""
    tokens = torch.from_numpy(rows.astype(np.int64))
    return tokens[:, :-1], tokens[:, 1:]


def time_it(contender: Callable[[Path, int, str], Iterator[Batch]]) -> None:
    """Open the data at a sample, read batches, and print what that took and a row that proves it.

    The command line: DIRECTORY SAMPLE BATCHES SETTING.
    """
    directory, sample, batches, setting = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    # From the first large array that a process frees, glibc keeps freed memory: training is long past that.
    np.empty(16 << 20, np.uint8)
    began = time.perf_counter()
    reader = contender(directory, sample, setting)
    inputs, targets = next(reader)
    opened = time.perf_counter() - began
    assert inputs.shape == targets.shape == (BATCH, CONTEXT)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    for _ in range(WARM_UP):
        next(reader)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(reader)
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "opened": opened}
    print(json.dumps(spent | {"row": inputs[0].tolist()}), flush=True)
    os._exit(0)  # whoever reads ahead in a thread is not waited for
