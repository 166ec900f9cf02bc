"""Batches hold every example once, are alike in length, and depend on seed and epoch alone."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from pipeline.finetune.batches import by_length, epoch_batches, updates_of

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=200)


@given(lengths=LENGTHS, batch=st.integers(1, 40), seed=st.integers(0, 2**70), keep_rest=st.booleans())
def test_every_example_is_in_one_batch(lengths: list[int], batch: int, seed: int, keep_rest: bool) -> None:
    found = epoch_batches(lengths, batch, seed, 0, keep_rest)
    assert len(found) == updates_of(len(lengths), batch, 1, keep_rest)
    chosen = [index for indices in found for index in indices]
    assert len(chosen) == len(set(chosen)) == (len(lengths) if keep_rest else len(lengths) // batch * batch)
    assert all(len(indices) == batch for indices in found) or keep_rest
    assert found == epoch_batches(lengths, batch, seed, 0, keep_rest)


def test_little_of_a_batch_is_padding_and_epochs_differ() -> None:
    lengths = random.Random(0).choices(range(5, 60), k=3200)
    batches = epoch_batches(lengths, 32, 0, 0, keep_rest=False)
    padded = sum(max(lengths[index] for index in indices) * len(indices) for indices in batches)
    assert padded < 1.05 * sum(lengths)
    assert batches != epoch_batches(lengths, 32, 0, 1, keep_rest=False)
    means = [sum(lengths[index] for index in indices) for indices in batches]
    assert means != sorted(means), "lengths do not rise over an epoch"


@given(lengths=LENGTHS, tokens=st.integers(1, 100))
def test_a_batch_by_length_has_so_many_tokens_or_one_example(lengths: list[int], tokens: int) -> None:
    found = by_length(lengths, tokens)
    assert sorted(index for indices in found for index in indices) == [*range(len(lengths))]
    for indices in found:
        assert len(indices) == 1 or len(indices) * max(lengths[index] for index in indices) <= tokens
