"""Texts for evaluation: where they end, and that company changes none."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from dataprep.tokenizer.tokenizer import Tokenizer
from model import GPT
from model.generate import Sampling, generate
from pipeline.errors import UsageError
from pipeline.inference.texts import Stops, write_texts

HOW: list[dict[str, Any]] = [{}, {"beams": 3}, {"top_k": 20, "seed": 7}]
PROMPTS = ["The dogs", "Q: Who barks?\nA:", "fox", "It jumps over the lazy dogs, and the quick", "The"]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_a_text_ends_before_its_first_stop_whatever_is_written_beside_it(
    model: GPT, words: Tokenizer, how: dict[str, Any]
) -> None:
    prompts = [words.encode(prompt) for prompt in PROMPTS]
    free = write_texts(model, words, prompts, max_tokens=12, **how)
    # Parts of texts begin and end anywhere in tokens. Half a character is no stop that anyone asks for.
    stops = [part for part in (text[3:5] for text in free) if part and "\ufffd" not in part]
    assert stops
    found = write_texts(model, words, prompts, max_tokens=12, stops=stops, **how)
    alone = [
        text
        for prompt in reversed(prompts)
        for text in write_texts(model, words, [prompt], max_tokens=12, stops=stops, **how)
    ]
    assert found == alone[::-1]
    assert not any(stop in text for text in found for stop in stops)
    if "beams" not in how:  # a beam that ends at a stop may be another
        assert found == [Stops(words, stops).cut(text) for text in free]
    assert found != free


def test_a_stop_may_begin_inside_a_token(words: Tokenizer) -> None:
    (token,) = words.encode(" dogs")
    stop = Stops(words, ["gs,", "!"])
    assert [stop([token]), stop([token, *words.encode(",")])] == [False, True]
    assert stop.cut("lazy dogs, and!") == "lazy do"


def test_a_draw_depends_on_the_seed_and_the_prompt(model: GPT, words: Tokenizer) -> None:
    prompts = [words.encode(prompt) for prompt in ("fox", "fox", "The dogs")]
    first = write_texts(model, words, prompts, max_tokens=12, top_k=20, seed=1)
    assert first[::-1] == write_texts(model, words, prompts[::-1], max_tokens=12, top_k=20, seed=1)
    assert first[0] == first[1] != write_texts(model, words, prompts[:1], max_tokens=12, top_k=20, seed=2)[0]


def test_a_text_ends_before_end_of_text(model: GPT, words: Tokenizer) -> None:
    prompt = words.encode("The")
    (free,) = generate(model, [prompt], 12, Sampling(temperature=0))
    ending = copy.deepcopy(model)
    with torch.no_grad():  # likelier than the fifth token wherever that is likely
        ending.wte.weight[words.eot] = 2 * ending.wte.weight[free[4]]
    (text,) = write_texts(ending, words, [prompt], max_tokens=12)
    assert text == words.decode(free[: free.index(free[4])])


def test_what_cannot_be_written_is_refused(model: GPT, words: Tokenizer) -> None:
    with pytest.raises(UsageError, match="an empty string would end every text"):
        write_texts(model, words, [[1]], max_tokens=3, stops=["a", ""])
    with pytest.raises(ValueError, match="top_k is 2 and beams is 4"):
        write_texts(model, words, [[1]], max_tokens=3, top_k=2, beams=4)
