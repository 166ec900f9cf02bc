"""Generation: the cache changes nothing but the time, and sampling keeps to its cuts."""

import pytest
import torch

from model import GPT
from model.generate import generate, sample


def uncached(model: GPT, context: list[int], count: int, temperature: float, seed: int) -> list[int]:
    """The definition: every token from its whole context, which restarts from its later half when full."""
    generator = torch.Generator().manual_seed(seed)
    new: list[int] = []
    for _ in range(count):
        logits = model(torch.tensor([context]))[0, -1, :61]
        new.append(sample(logits, temperature, generator=generator))
        context = [*context, new[-1]]
        context = context if len(context) <= model.config.n_ctx else context[-model.config.n_ctx // 2 :]
    return new


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cached_generation_equals_uncached(model: GPT, temperature: float) -> None:
    prompt = [3, 1, 4, 1, 5, 9, 2]
    generator = torch.Generator().manual_seed(1)
    cached = generate(model, prompt, 40, temperature, generator=generator)
    # 47 tokens in a context of 24: it restarts on the way.
    assert cached == uncached(model, prompt, 40, temperature, seed=1)


def test_greedy_generation_takes_the_likeliest_token_each_time(model: GPT) -> None:
    context = [7, 11]
    for token in generate(model, context, 10, temperature=0):
        logits = model(torch.tensor([context]))[0, -1, :61]
        assert token == int(logits.argmax())
        context = [*context, token]


def test_generation_ends_before_the_end_of_text(model: GPT) -> None:
    free = generate(model, [7], 12, temperature=0)
    eot = free[-1]
    assert generate(model, [7], 12, temperature=0, eot=eot) == free[: free.index(eot)]


def test_the_same_generator_state_gives_the_same_text(model: GPT) -> None:
    first, second = (
        generate(model, [5], 12, top_k=20, top_p=0.9, generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    assert first == second


def test_a_prompt_longer_than_the_context_keeps_its_end(model: GPT) -> None:
    prompt = [(3 * i) % 61 for i in range(60)]
    assert generate(model, prompt, 5, temperature=0) == generate(model, prompt[-24:], 5, temperature=0)


def test_an_empty_prompt_is_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="begin with the end-of-text token"):
        generate(model, [], 5)


def drawn(**cuts: float) -> set[int]:
    """Every token that sampling ever draws from probabilities .4, .3, .2, .1 under the cuts."""
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()
    generator = torch.Generator().manual_seed(0)
    return {sample(logits, generator=generator, **cuts) for _ in range(200)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cuts", "tokens"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.05}, {1}),
        ({"top_p": 0.6}, {1, 3}),
        ({"top_p": 0.8}, {1, 2, 3}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 3, "top_p": 0.7}, {1, 3}),  # of .4, .3, .2 the first two hold 7/9
        ({"temperature": 0.01}, {1}),
    ],
)
def test_sampling_keeps_to_its_cuts(cuts: dict[str, float], tokens: set[int]) -> None:
    assert drawn(**cuts) == tokens


@pytest.mark.parametrize("cuts", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_cuts_out_of_range_are_refused(cuts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(cuts))):
        drawn(**cuts)
