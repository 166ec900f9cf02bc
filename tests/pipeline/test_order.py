"""The data order is a function, and within an epoch a permutation."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pipeline.order import Order, Permutation

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
