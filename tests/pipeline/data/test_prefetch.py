"""Prefetched batches come in order, count only once they are used, and never outlive their reader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.loss import IGNORED
from pipeline.data.loader import TrainLoader, sample_hashes
from pipeline.data.prefetch import Prefetcher
from pipeline.data.skipped import SkippedRanges
from pipeline.data.sources import Samples, Sources

EOT = 19
"""An id that follows itself at times in the tiny shards: it stands for end-of-text."""


def broken_after(items: int) -> Iterator[int]:
    yield from range(items)
    raise OSError("the disk is gone")


def test_items_come_in_order_and_an_error_comes_where_it_happened() -> None:
    ahead = Prefetcher(broken_after(20), depth=3)
    assert [next(ahead) for _ in range(20)] == list(range(20))
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            next(ahead)


def test_closing_ends_the_thread_wherever_it_is() -> None:
    before = threading.active_count()
    for taken in (0, 1, 50):
        ahead = Prefetcher(count(), depth=2)
        assert [next(ahead) for _ in range(taken)] == list(range(taken))
        ahead.close()
    assert threading.active_count() == before


@pytest.fixture
def samples(tmp_path: Path, write_tokens: Callable[..., Any]) -> Samples:
    write_tokens(tmp_path)
    return Samples.of(Sources.load({"": (tmp_path, None, 1.0)}), n_ctx=16, seed=1, block=4)


def test_batches_are_those_of_their_samples_and_the_hash_is_of_what_was_yielded(samples: Samples) -> None:
    ahead, fresh = (TrainLoader(samples.rows, eot=EOT, micro=2, dp_rank=1, dp_size=2) for _ in range(2))
    consumed = 0
    for batch in (4, 8, 4):  # the ramp does not disturb what is prefetched
        for (inputs, targets), first in zip(
            ahead.batches(consumed, batch), range(consumed, consumed + batch, 4), strict=True
        ):
            rows = np.stack([samples(first + 2), samples(first + 3)])  # those of the second of two ranks
            assert inputs.tolist() == rows[:, :-1].tolist()
            counts = (rows[:, 1:] != EOT) | (rows[:, :-1] != EOT)
            assert targets.tolist() == np.where(counts, rows[:, 1:], IGNORED).tolist()
        list(fresh.batches(consumed, batch))
        fresh.close()
        assert ahead.take_hash() == fresh.take_hash()
        consumed += batch
    ahead.close()


def test_a_request_for_another_position_or_other_skipped_ranges_is_served_at_once(samples: Samples) -> None:
    loader = TrainLoader(samples.rows, eot=EOT, micro=1, dp_rank=0, dp_size=1)

    def read(consumed: int, batch: int) -> list[list[int]]:
        return [inputs[0].tolist() for inputs, _ in loader.batches(consumed, batch)]

    assert read(0, 4) == [samples(k)[:-1].tolist() for k in range(4)]
    assert read(2, 2) == [samples(k)[:-1].tolist() for k in (2, 3)]
    next(loader.batches(4, 4))  # broken off in mid-batch
    assert read(8, 1) == [samples(8)[:-1].tolist()]
    loader.skipped_ranges = SkippedRanges(((9, 12),))
    assert read(9, 2) == [samples(k)[:-1].tolist() for k in (12, 13)]
    loader.close()


@pytest.mark.slow(2)
@pytest.mark.parametrize("micro", [1, 2, 4])
@pytest.mark.parametrize("dp_size", [1, 2, 3])
def test_the_stream_hash_and_the_positions_that_count_are_the_same_for_any_ranks_and_micro_batch(
    samples: Samples, dp_size: int, micro: int
) -> None:
    """Past the end of an epoch, with a stretch that is left out; every layout divides 24."""

    def totals(micro: int, dp_size: int) -> list[tuple[int, int]]:
        skipped_ranges = SkippedRanges(((30, 41),))
        loaders = [
            TrainLoader(
                samples.rows,
                eot=EOT,
                micro=micro,
                dp_rank=rank,
                dp_size=dp_size,
                skipped_ranges=skipped_ranges,
            )
            for rank in range(dp_size)
        ]
        found, consumed = [], 0
        for batch in (24, 48, 72, 120, 24):
            for loader in loaders:
                list(loader.batches(consumed, batch))
            consumed += batch
            read = sum(loader.take_hash() for loader in loaders) % 2**64
            found.append((read, sum(loader.take_counted() for loader in loaders)))
        for loader in loaders:
            loader.close()
        return found

    one = totals(1, 1)
    assert totals(micro, dp_size) == one
    assert all(
        0 < counted < batch * 16 for (_, counted), batch in zip(one, (24, 48, 72, 120, 24), strict=True)
    )
    assert len(set(one)) == len(one)


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_the_hash_of_a_sample_is_of_its_tokens_and_its_place_and_stays_the_same(dtype: str) -> None:
    """A run in progress would take a changed hash for another stream."""
    rows = np.array([[1, 2, 3], [4, 5, 60_000]], dtype)
    assert sample_hashes([7, 2**40], rows) == [13837598268923031956, 11585153112542630114]
    assert sum(sample_hashes([2**40, 7], rows)) != 13837598268923031956 + 11585153112542630114, (
        "the same two samples, exchanged"
    )
