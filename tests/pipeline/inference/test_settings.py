"""Presets of the papers, and what counts before them."""

from __future__ import annotations

from typing import Any

import pytest

from model.beam import Beam
from model.generate import Sampling
from pipeline.errors import UsageError
from pipeline.inference.settings import PRESETS, Settings


def test_each_preset_is_what_its_paper_did() -> None:
    how = {name: (made := Settings().preset(name)).how for name in PRESETS}
    assert how == {
        "greedy": Sampling(temperature=0),
        "gpt2": Sampling(temperature=1, top_k=40),
        "gpt3-qa": Beam(4, 0.6),
        "gpt3-news": Sampling(temperature=1, top_p=0.9),
    }
    assert Settings().preset("gpt3-qa").stops == ("\n",)
    assert made.max_tokens == 100


def test_a_preset_leaves_nothing_of_another_but_length_and_seed() -> None:
    before = Settings(max_tokens=7, seed=3).preset("gpt3-qa").changed({"top_k": 5})
    assert before.preset("gpt3-news") == Settings(max_tokens=7, seed=3, temperature=1.0, top_p=0.9)


@pytest.mark.parametrize(
    ("given", "how"),
    [
        ({"temperature": 0.5}, Sampling(temperature=0.5)),
        ({"beams": 2}, Beam(2, 0.6)),
        ({"length_penalty": 1.0}, Beam(4, 1.0)),
        ({"seed": 9}, Beam(4, 0.6)),
    ],
    ids=str,
)
def test_an_option_counts_before_the_preset(given: dict[str, Any], how: Sampling | Beam) -> None:
    assert Settings().preset("gpt3-qa").changed(given).how == how


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beams": 4, "top_k": 40}, "beams search, and top_k is for a draw"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"beams": 0}, "beams is 0"),
        ({"max_tokens": 0}, "max_tokens is 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings().changed(given)
