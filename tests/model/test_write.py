"""Many prompts: batches bound the memory, and change no text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import GPT
from model.beam import Beam, beam_search
from model.generate import Sampling, generate
from model.write import batches, write

PROMPTS = [[3], [1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [8, 9], [7] * 20, [2, 7], [(3 * i) % 61 for i in range(30)]]


@given(sizes=st.lists(st.integers(1, 50), max_size=30), room=st.integers(0, 200))
def test_batches_hold_every_place_once_and_keep_to_their_room(sizes: list[int], room: int) -> None:
    found = batches(sizes, room)
    assert sorted(place for batch in found for place in batch) == list(range(len(sizes)))
    for batch in found:
        largest = max(sizes[place] for place in batch)
        assert len(batch) == 1 or len(batch) * largest <= room
        assert all(2 * sizes[place] >= largest for place in batch)


@pytest.mark.slow(2)
@pytest.mark.parametrize("memory_bytes", [1, 50_000, 2**30])
def test_texts_are_those_that_each_prompt_gets_alone(model: GPT, memory_bytes: int) -> None:
    drawn = write(model, PROMPTS, 9, Sampling(top_k=20, seed=4), memory_bytes=memory_bytes)
    assert drawn == [
        generate(model, [p], 9, Sampling(top_k=20, seed=4 + i))[0] for i, p in enumerate(PROMPTS)
    ]
    searched = write(model, PROMPTS, 9, Beam(2), memory_bytes=memory_bytes)
    assert searched == [beam_search(model, [prompt], 9, Beam(2))[0] for prompt in PROMPTS]


def test_no_prompts_give_no_texts(model: GPT) -> None:
    assert write(model, [], 9, Sampling()) == write(model, [], 9, Beam(2)) == []
