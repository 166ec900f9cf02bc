"""From sample numbers to micro-batches of tensors, read ahead, and the hash that proves what was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xxhash
from torch import Tensor

from pipeline.ahead import ReadAhead
from pipeline.ledger import Ledger
from pipeline.sources import HeldOut
from pipeline.stream import Stream

MicroBatch = tuple[Tensor, Tensor]
"""Inputs and targets, both (micro, n_ctx) int64; target t is input t + 1."""


Tokens = np.ndarray[tuple[int], np.dtype[np.int64]]

DEPTH = 8
"""Micro-batches that are read before they are asked for."""


def sample_hash(sample: int, tokens: Tokens) -> int:
    """Hash one sample, seeded by its place in the order; their sum modulo 2^64 is the stream hash."""
    return xxhash.xxh3_64_intdigest(tokens.astype("<u4").tobytes(), seed=sample)


class TrainFeed:
    """The part of each batch that one data-parallel rank computes, read ahead by a thread.

    A rank's micro-batches come one after another whatever the batch's size, so that the next step's are known
    before it is. Asked for another place than that, it begins to read anew there.
    """

    def __init__(
        self,
        samples: Callable[[int], npt.NDArray[Any]] | Stream,
        micro: int,
        dp_rank: int,
        dp_size: int,
        ledger: Ledger | None = None,
        device: str = "cpu",
    ) -> None:
        self.micro = micro
        self._samples = samples
        self._dp_rank, self._dp_size = dp_rank, dp_size
        self._ledger = ledger or Ledger()
        self._device = device
        self._ahead: ReadAhead[tuple[MicroBatch, int]] | None = None
        self._next = 0
        """Where the batch begins whose first micro-batch comes next, in samples of the run."""
        self._hash, self._waited_ns = 0, 0

    @property
    def ledger(self) -> Ledger:
        """Stretches of the data order that are left out."""
        return self._ledger

    @ledger.setter
    def ledger(self, ledger: Ledger) -> None:
        self.close()
        self._ledger = ledger

    def batches(self, consumed: int, batch: int) -> Iterator[MicroBatch]:
        """Yield this rank's micro-batches of samples [consumed, consumed + batch)."""
        if consumed != self._next:
            self.close()
        for first in range(consumed, consumed + batch, self.micro * self._dp_size):
            # Begun here, when the first is asked for: stages between the first and the last read nothing.
            self._ahead = self._ahead or ReadAhead(self._prepared(first), DEPTH)
            before = self._ahead.waited_ns
            tensors, read = next(self._ahead)
            self._waited_ns += self._ahead.waited_ns - before
            self._hash = (self._hash + read) % 2**64
            self._next = first + self.micro * self._dp_size
            yield tensors if self._device == "cpu" else _moved(tensors, self._device)

    def take_hash(self) -> int:
        """Sum modulo 2^64 of the hashes of the samples that were yielded since the last time."""
        taken, self._hash = self._hash, 0
        return taken

    def take_wait_ns(self) -> int:
        """How long `batches` has stood still for want of data since the last time."""
        taken, self._waited_ns = self._waited_ns, 0
        return taken

    def close(self) -> None:
        """Stop reading ahead, and drop what was read but not yielded."""
        if self._ahead:
            self._ahead.close()
            self._ahead = None

    def _prepared(self, consumed: int) -> Iterator[tuple[MicroBatch, int]]:
        """Endless micro-batches from sample `consumed` on, each with the sum of its samples' hashes."""
        numbered = self._numbered(consumed)
        while rows := list(islice(numbered, self.micro)):
            tensors = _tensors([tokens for _, tokens in rows])
            if self._device != "cpu":
                tensors = tensors[0].pin_memory(), tensors[1].pin_memory()
            yield tensors, sum(sample_hash(place, tokens) for place, tokens in rows)

    def _numbered(self, consumed: int) -> Iterator[tuple[int, Tokens]]:
        """This rank's samples from `consumed` on, each after its place in the order of the data."""
        if isinstance(self._samples, Stream):
            for place, tokens in self._samples.numbered(consumed, self._dp_rank, self._dp_size):
                yield place, tokens.astype(np.int64)
            return
        for first in count(consumed + self._dp_rank * self.micro, self.micro * self._dp_size):
            for sample in range(first, first + self.micro):
                place = self._ledger.place(sample)
                yield place, self._samples(place).astype(np.int64)


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


def _moved(tensors: MicroBatch, device: str) -> MicroBatch:
    """From pinned memory to the device, while the host goes on."""
    inputs, targets = tensors
    return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def _tensors(rows: list[Tokens]) -> MicroBatch:
    tokens = torch.from_numpy(np.stack(rows))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
