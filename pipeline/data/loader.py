"""Sample numbers to micro-batches of tensors, prefetched, with the hash that proves what was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xxhash
from torch import Tensor

from model.loss import IGNORED
from pipeline.data.counted import counted
from pipeline.data.prefetch import Prefetcher
from pipeline.data.skipped import SkippedRanges
from pipeline.data.sources import HeldOut
from pipeline.data.streaming import StreamedSamples

MicroBatch = tuple[Tensor, Tensor]
"""Inputs and targets, both (micro, n_ctx) int64. Target t is input t + 1, or IGNORED where the position does
not count."""

ReadSamples = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]
"""Positions in the data order, (n,) -> (n, n_ctx + 1) tokens."""

Prepared = tuple[Tensor, int, int]
"""The tokens of a micro-batch, (micro, n_ctx + 1) int64, the sum of its samples' hashes, and how many of its
positions count."""

SAMPLES_AT_ONCE = 512
"""Fewest samples that are read and handed over together: they share the cost of finding them."""
PREFETCH_DEPTH = 2
"""Such reads that are ready before they are needed."""


def sample_hashes(places: Sequence[int], rows: npt.NDArray[Any]) -> list[int]:
    """Hash samples, each seeded by its position in the order; their sum modulo 2^64 is the stream hash."""
    hashed = rows.astype("<u4")
    return [xxhash.xxh3_64_intdigest(row, place) for row, place in zip(hashed, places, strict=True)]


class TrainLoader:
    """The part of each batch that one data-parallel rank computes, prefetched by a thread.

    A rank's micro-batches follow each other whatever the batch's size, so those of the next step are known
    before it begins. A request for another position starts the prefetching again there.
    """

    def __init__(
        self,
        samples: ReadSamples | StreamedSamples,
        *,
        eot: int,
        micro: int,
        dp_rank: int,
        dp_size: int,
        skipped_ranges: SkippedRanges | None = None,
        device: str = "cpu",
    ) -> None:
        self.micro = micro
        self._samples, self._eot = samples, eot
        self._dp_rank, self._dp_size = dp_rank, dp_size
        self._skipped = skipped_ranges or SkippedRanges()
        self._device = device
        self._prefetcher: Prefetcher[list[Prepared]] | None = None
        self._coming: Iterator[Prepared] = iter(())
        self._next = 0
        """Where the batch begins whose first micro-batch comes next, in samples of the run."""
        self._hash, self._counted, self._waited_ns = 0, 0, 0

    @property
    def skipped_ranges(self) -> SkippedRanges:
        """Ranges of the data order that are skipped."""
        return self._skipped

    @skipped_ranges.setter
    def skipped_ranges(self, skipped_ranges: SkippedRanges) -> None:
        self.close()
        self._skipped = skipped_ranges

    def batches(self, consumed: int, batch: int) -> Iterator[MicroBatch]:
        """Yield this rank's micro-batches of samples [consumed, consumed + batch)."""
        if consumed != self._next:
            self.close()
        for first in range(consumed, consumed + batch, self.micro * self._dp_size):
            # Begun here, when the first is asked for: stages between the first and the last read nothing.
            if self._prefetcher is None:
                self._prefetcher = Prefetcher(self._prepared(first), PREFETCH_DEPTH)
                self._coming = chain.from_iterable(self._prefetcher)
            before = self._prefetcher.waited_ns
            tokens, read, positions = next(self._coming)
            self._waited_ns += self._prefetcher.waited_ns - before
            self._hash = (self._hash + read) % 2**64
            self._counted += positions
            self._next = first + self.micro * self._dp_size
            # From pinned memory to the device, while the host goes on; a CPU has it already.
            yield _shifted(tokens.to(self._device, non_blocking=True), self._eot)

    def take_hash(self) -> int:
        """Sum modulo 2^64 of the hashes of the samples that were yielded since the last time."""
        taken, self._hash = self._hash, 0
        return taken

    def take_counted(self) -> int:
        """How many positions that count were yielded since the last time."""
        taken, self._counted = self._counted, 0
        return taken

    def take_wait_ns(self) -> int:
        """How long `batches` has stood still for want of data since the last time."""
        taken, self._waited_ns = self._waited_ns, 0
        return taken

    def close(self) -> None:
        """Stop reading ahead, and drop what was read but not yielded."""
        if self._prefetcher:
            self._prefetcher.close()
            self._prefetcher = None

    def _prepared(self, consumed: int) -> Iterator[list[Prepared]]:
        """Endless micro-batches from sample `consumed` on, as many at once as SAMPLES_AT_ONCE samples are."""
        for places, rows in self._rows(consumed, -(-SAMPLES_AT_ONCE // self.micro)):
            micros = places.reshape(-1, self.micro).tolist(), rows.reshape(-1, self.micro, rows.shape[1])
            yield [self._micro_batch(*micro) for micro in zip(*micros, strict=True)]

    def _micro_batch(self, places: list[int], rows: npt.NDArray[Any]) -> Prepared:
        tokens = torch.from_numpy(rows.astype(np.int64))
        if self._device != "cpu":
            tokens = tokens.pin_memory()
        return tokens, sum(sample_hashes(places, rows)), int(np.count_nonzero(counted(rows, self._eot)))

    def _rows(self, consumed: int, micros: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
        """Positions in the data order, from `consumed` on, and their tokens, for `micros` micro-batches."""
        if isinstance(self._samples, StreamedSamples):
            numbered = self._samples.numbered(consumed, self._dp_rank, self._dp_size)
            while True:
                places, tokens = zip(*islice(numbered, micros * self.micro), strict=True)
                yield np.array(places), np.stack(tokens)
        stride = self.micro * self._dp_size
        own = self._dp_rank * self.micro + np.arange(self.micro)
        ahead = np.arange(micros)[:, None] * stride + own
        for first in count(consumed, micros * stride):
            wanted = self._skipped.positions(first + ahead).flatten()
            yield wanted, self._samples(wanted)


@dataclass(frozen=True, kw_only=True)
class EvalLoader:
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
            rows = np.stack([self.held_out(index) for index in range(first, last)])
            yield _shifted(torch.from_numpy(rows.astype(np.int64)), self.held_out.eot)


def _shifted(tokens: Tensor, eot: int) -> MicroBatch:
    return tokens[:, :-1], tokens[:, 1:].masked_fill(~counted(tokens, eot), IGNORED)
