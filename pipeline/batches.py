"""From sample numbers to micro-batches of tensors, and the hash that proves which stream was read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import xxhash
from torch import Tensor

from pipeline.ledger import Ledger
from pipeline.sources import HeldOut, Samples

MicroBatch = tuple[Tensor, Tensor]
"""Inputs and targets, both (micro, n_ctx) int64; target t is input t + 1."""


def sample_hash(sample: int, tokens: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Hash one sample, seeded by its place in the order; their sum modulo 2^64 is the stream hash."""
    return xxhash.xxh3_64_intdigest(tokens.astype("<u4").tobytes(), seed=sample)


@dataclass
class TrainFeed:
    """The part of each batch that one data-parallel rank computes."""

    samples: Samples
    micro: int
    dp_rank: int
    dp_size: int
    ledger: Ledger = field(default_factory=Ledger)
    read_hash: int = 0
    """Sum modulo 2^64 of the hashes of all samples that this rank has read since the last `take_hash`."""

    def batches(self, consumed: int, batch: int) -> Iterator[MicroBatch]:
        """Yield this rank's micro-batches of samples [consumed, consumed + batch)."""
        for first in range(consumed + self.dp_rank * self.micro, consumed + batch, self.micro * self.dp_size):
            yield _tensors([self._sample(first + row) for row in range(self.micro)])

    def take_hash(self) -> int:
        """Return `read_hash` and start it again at 0."""
        taken, self.read_hash = self.read_hash, 0
        return taken

    def _sample(self, sample: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        place = self.ledger.place(sample)
        tokens = self.samples(place).astype(np.int64)
        self.read_hash = (self.read_hash + sample_hash(place, tokens)) % 2**64
        return tokens


@dataclass(frozen=True)
class EvalFeed:
    """The part of the held-out sequences that one rank computes: the same in all, in any layout."""

    held_out: HeldOut
    micro: int
    dp_rank: int
    dp_size: int

    @property
    def sequences(self) -> int:
        """Of all ranks."""
        return len(self.held_out)

    def batches(self) -> Iterator[MicroBatch]:
        """Yield this rank's micro-batches."""
        for first in range(self.dp_rank * self.micro, self.sequences, self.micro * self.dp_size):
            last = min(first + self.micro, self.sequences)
            yield _tensors([self.held_out(index).astype(np.int64) for index in range(first, last)])


def _tensors(rows: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> MicroBatch:
    tokens = torch.from_numpy(np.stack(rows))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
