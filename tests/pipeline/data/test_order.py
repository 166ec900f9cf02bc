"""The data order is a function, and within an epoch a permutation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.order import Order, Permutation

sizes = st.integers(1, 300)
keys = st.integers(0, 2**64 - 1)


@given(sizes, keys)
def test_a_permutation_meets_every_index_once(size: int, key: int) -> None:
    assert sorted(map(Permutation(size, key), range(size))) == list(range(size))


@given(st.integers(1, 10**12), keys, st.data())
def test_a_permutation_can_be_walked_back_at_any_size(size: int, key: int, data: st.DataObject) -> None:
    shuffle = Permutation(size, key)
    index = data.draw(st.integers(0, size - 1))
    assert shuffle.index(shuffle(index)) == index


@given(st.integers(1, 10**6), keys, st.data())
def test_many_indices_at_once_are_those_one_by_one(size: int, key: int, data: st.DataObject) -> None:
    shuffle = Permutation(size, key)
    indices = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    assert shuffle.many(np.array(indices)).tolist() == [shuffle(index) for index in indices]


@given(sizes, st.integers(1, 40), st.lists(st.integers(0, 2000), min_size=1))
def test_many_samples_at_once_are_those_one_by_one(sequences: int, block: int, samples: list[int]) -> None:
    order = Order(sequences, block, seed=2, generation=1)
    assert order.many(np.array(samples)).tolist() == [order(sample) for sample in samples]


@given(sizes, st.integers(1, 40), st.integers(0, 9), st.integers(0, 3))
def test_each_epoch_reads_every_sequence_once(sequences: int, block: int, seed: int, epoch: int) -> None:
    order = Order(sequences, block, seed, generation=1)
    samples = range(epoch * sequences, (epoch + 1) * sequences)
    assert sorted(map(order, samples)) == list(range(sequences))


@given(sizes, st.integers(1, 40))
def test_a_block_is_read_as_a_whole_before_the_next(sequences: int, block: int) -> None:
    order = Order(sequences, block, seed=1, generation=1)
    blocks = [order(sample) // block for sample in range(sequences)]
    changes = sum(here != there for here, there in itertools.pairwise(blocks))
    assert changes == len(set(blocks)) - 1


def test_seed_generation_and_epoch_each_change_the_order() -> None:
    def read(seed: int, generation: int, epoch: int) -> tuple[int, ...]:
        order = Order(50, 4, seed, generation)
        return tuple(order(epoch * 50 + place) for place in range(50))

    assert len({read(0, 1, 0), read(1, 1, 0), read(0, 2, 0), read(0, 1, 1)}) == 4


def test_sample_numbers_may_be_as_large_as_a_run_is_long() -> None:
    order = Order(sequences=300_000_000, block=64, seed=0, generation=1)
    assert 0 <= order(3 * 300_000_000 + 123_456_789) < 300_000_000


def test_the_order_does_not_change_between_versions() -> None:
    """A run in progress would silently read other data."""
    order = Order(sequences=10, block=4, seed=0, generation=1)
    assert [order(sample) for sample in range(10)] == [4, 6, 5, 7, 2, 3, 0, 1, 9, 8]


@pytest.mark.parametrize(
    ("order", "was"),
    [
        (Order(1, 1, 0, 1), "0c2722aa3370cd20"),
        (Order(2, 7, 1, 1), "0982a6bafdf42de1"),
        (Order(1000, 1, 0, 1), "02385ae09c6e7361"),
        (Order(1000, 7, 3, 2), "3f13092260156466"),
        (Order(999, 64, 2**64 - 1, 5), "2b1e1166af6136b8"),
        (Order(4097, 4097, 9, 1), "75a37aac54b2c39c"),
        (Order(300_000_001, 64, 1, 3), "bee549c737f8f2d7"),
    ],
)
def test_thousands_of_samples_come_as_they_did_when_each_was_computed_alone(order: Order, was: str) -> None:
    """Hashes of what the first version said, which had no `many`: from the start, and over an epoch's end."""
    count = min(2 * order.sequences + 10, 2000)
    samples = np.arange(count), 7 * order.sequences - count // 2 + np.arange(count)
    assert xxhash.xxh3_64_hexdigest(order.many(np.concatenate(samples)).astype("<i8").tobytes()) == was
