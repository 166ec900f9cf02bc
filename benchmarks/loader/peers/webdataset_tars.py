"""webdataset over tars: our own, whose members hold many sequences, or those with one sequence a member."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import webdataset
from contender import BATCH, CONTEXT, Batch, tensors, time_it

SHUFFLED = 1000
"""Sequences in the buffer from which one is drawn."""


def read(directory: Path, sample: int, setting: str) -> Iterator[Batch]:
    """The setting: "blocks" or "sequences", and "shuffled". What comes before the sample is read in vain."""
    members, _, shuffled = setting.partition(" ")
    tars = sorted(map(str, (directory / {"blocks": "ours", "sequences": "sequences"}[members]).glob("*.tar")))
    data = webdataset.WebDataset(tars, shardshuffle=len(tars) if shuffled else False, empty_check=False)
    if members == "blocks" and not shuffled:
        rows = data.repeat().compose(_batches)
    else:
        rows = data.repeat().compose(_sequences)
        rows = (rows.shuffle(SHUFFLED) if shuffled else rows).batched(BATCH, collation_fn=np.stack)
    return map(tensors, islice(rows, sample // BATCH, None))


def _batches(members: Any) -> Iterator[npt.NDArray[np.uint16]]:
    """In file order, whole batches can be cut at once: the least that webdataset can cost."""
    for member in members:
        rows = _rows(member)
        for first in range(0, len(rows) - BATCH + 1, BATCH):
            yield rows[first : first + BATCH]


def _sequences(members: Any) -> Iterator[npt.NDArray[np.uint16]]:
    for member in members:
        yield from _rows(member)


def _rows(member: Any) -> npt.NDArray[np.uint16]:
    """Overlapping by one token, without copying."""
    tokens = np.frombuffer(member["bin"], np.uint16)
    return np.lib.stride_tricks.sliding_window_view(tokens, CONTEXT + 1)[::CONTEXT]


time_it(read)
