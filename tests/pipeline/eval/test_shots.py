"""Solved examples depend on the example alone, never are the example itself, and fit into the context."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.eval.documents import Example
from pipeline.eval.shots import draw
from pipeline.inference.fitting import fit
from support.evaluation import example, of, shipped
from support.oracles import Writer

TRAINING = [example({}, str(n)) for n in range(5)]


def keys(
    shots: int,
    question: Example | None,
    seed: int = 0,
    training: list[Example] = TRAINING,
    name: str = "hellaswag",
) -> list[str]:
    task = shipped("hellaswag").model_copy(update={"name": name})
    asked = of(task, "paper", [], training, shots=shots, seed=seed)
    return [each.key for each in draw(asked, question)]


def test_an_example_is_not_among_its_own_and_each_other_is_drawn_as_often() -> None:
    drawn = Counter(key for seed in range(1000) for key in keys(2, TRAINING[3], seed))
    assert [*sorted(drawn)] == ["0", "1", "2", "4"]
    assert all(count == pytest.approx(500, abs=80) for count in drawn.values())


def test_the_same_are_drawn_for_the_same_example_and_for_the_whole_task() -> None:
    assert keys(3, TRAINING[0]) == keys(3, TRAINING[0]) != keys(3, TRAINING[1])
    assert keys(3, None) == keys(3, None)
    assert sorted(keys(9, TRAINING[0])) == ["1", "2", "3", "4"]
    assert keys(2, TRAINING[0], training=[]) == []


def test_each_example_task_and_seed_draws_its_own() -> None:
    many = [example({}, str(n)) for n in range(50)]
    drawn = {
        tuple(keys(5, question, seed, many, name))
        for question in (example({}, "a"), example({}, "b"), None)
        for seed in (0, 1)
        for name in ("hellaswag", "piqa")
    }
    assert len(drawn) == 3 * 2 * 2


@given(lengths=st.lists(st.integers(1, 9)), n_ctx=st.integers(1, 60), room=st.integers(0, 9))
def test_whole_examples_are_left_out_from_the_front_until_the_rest_fits(
    lengths: list[int], n_ctx: int, room: int
) -> None:
    model, shown = Writer(n_ctx=n_ctx), ["w " * length for length in lengths]
    context, stayed = fit(model, shown, "a question", room, instruction="do", delimiter="\n")
    last = [[*shown[first:], "a question"] for first in range(len(shown) + 1)]
    fitting = [each for each in last if model.count(" ".join(["do", *each])) + room <= n_ctx]
    expected = fitting[0] if fitting else ["a question"]
    assert (context, stayed) == ("\n".join(["do", *expected]), len(expected) - 1)
