"""Generation: cache and batch change nothing but the time, and sampling keeps to its cuts."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from model import GPT
from model.generate import Sampling, generate, sample

GREEDY = Sampling(temperature=0)
EVERY_WAY = pytest.mark.parametrize(
    "how",
    [{"temperature": 0}, {}, {"temperature": 0.7, "top_k": 5}, {"top_p": 0.8}, {"top_k": 30, "top_p": 0.9}],
    ids=str,
)


def uncached(model: GPT, prompt: Sequence[int], count: int, sampling: Sampling) -> list[int]:
    """The definition: every token from its whole context, which restarts from its later half when full."""
    generator = torch.Generator().manual_seed(sampling.seed)
    context, new = list(prompt), list[int]()
    for _ in range(count):
        logits = model(torch.tensor([context]))[:, -1, :61]
        new += sample(logits, sampling, [generator])
        context = [*context, new[-1]]
        context = context if len(context) <= model.config.n_ctx else context[-model.config.n_ctx // 2 :]
    return new


@EVERY_WAY
def test_cached_generation_equals_uncached(model: GPT, how: dict[str, Any]) -> None:
    prompt, sampling = [3, 1, 4, 1, 5, 9, 2], Sampling(**how, seed=1)
    # 47 tokens in a context of 24: it restarts on the way.
    assert generate(model, [prompt], 40, sampling) == [uncached(model, prompt, 40, sampling)]


@pytest.mark.slow(8)
@EVERY_WAY
def test_prompts_of_different_lengths_get_what_each_gets_alone(model: GPT, how: dict[str, Any]) -> None:
    prompts = [[3], [1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [8, 9], [7] * 23, [(3 * i) % 61 for i in range(24)]]
    found = generate(model, prompts, 40, Sampling(**how, seed=5))
    for row, (prompt, tokens) in enumerate(zip(prompts, found, strict=True)):
        assert tokens == uncached(model, prompt, 40, Sampling(**how, seed=5 + row)), row


def test_texts_that_end_leave_the_others_as_they_are(model: GPT) -> None:
    prompts = [[7], [11, 2, 5], [13, 13]]
    free = generate(model, prompts, 20, Sampling(seed=3))
    eot = free[1][4]
    ended = generate(model, prompts, 20, Sampling(seed=3), eot=eot)
    assert ended == [tokens[: tokens.index(eot)] if eot in tokens else tokens for tokens in free]
    assert len(ended[1]) <= 4


def test_a_text_ends_with_the_token_that_completes_a_stop(model: GPT) -> None:
    free = generate(model, [[7], [11]], 20, GREEDY)
    wanted = free[0][3:5]
    stopped = generate(model, [[7], [11]], 20, GREEDY, stop=lambda new: list(new[-2:]) == wanted)
    ends = [
        next((end for end in range(2, 20) if tokens[end - 2 : end] == wanted), len(tokens)) for tokens in free
    ]
    assert stopped == [tokens[:end] for tokens, end in zip(free, ends, strict=True)]
    assert min(ends) < 20


def test_the_same_seed_gives_the_same_text_and_another_seed_another(make_model: Callable[..., GPT]) -> None:
    model = make_model()
    first, second, other = (
        generate(model, [[5]], 12, Sampling(top_k=20, top_p=0.9, seed=seed)) for seed in (4, 4, 5)
    )
    assert first == second != other


def test_a_prompt_longer_than_the_context_keeps_its_end(model: GPT) -> None:
    prompt = [(3 * i) % 61 for i in range(60)]
    assert generate(model, [prompt], 5, GREEDY) == generate(model, [prompt[-24:]], 5, GREEDY)


def test_an_empty_prompt_is_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="begin with the end-of-text token"):
        generate(model, [[3], []], 5)


def test_the_padding_of_the_vocabulary_is_never_drawn(make_model: Callable[..., GPT]) -> None:
    (tokens,) = generate(make_model(init_std=0.001), [[5]], 200, Sampling(temperature=50))
    assert max(tokens) < 61


def draw(**cuts: Any) -> set[int]:
    """Every token that sampling ever draws from probabilities .4, .3, .2, .1 under the cuts."""
    logits = torch.tensor([0.1, 0.4, 0.2, 0.3]).log().expand(200, 4)
    generator = torch.Generator().manual_seed(0)
    return set(sample(logits, Sampling(**cuts), [generator] * 200))


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
        ({"top_k": 3, "top_p": 0.75}, {1, 3}),  # 0.7 of all
        ({"temperature": 0.01}, {1}),
        ({"temperature": 0}, {1}),
    ],
)
def test_sampling_keeps_to_its_cuts(cuts: dict[str, Any], tokens: set[int]) -> None:
    assert draw(**cuts) == tokens


@pytest.mark.parametrize("cuts", [{"top_p": 0.5}, {"top_k": 8, "top_p": 0.5}], ids=str)
def test_tokens_that_hold_exactly_p_are_enough(cuts: dict[str, Any]) -> None:
    """Eight tokens of 1/8 each: four reach a half."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(200)]
    assert len(set(sample(torch.zeros(200, 8), Sampling(**cuts), generators))) == 4


@pytest.mark.parametrize("cuts", [{}, {"top_k": 4}, {"top_p": 0.95}], ids=str)
def test_tokens_are_drawn_as_often_as_they_are_likely(cuts: dict[str, Any]) -> None:
    probabilities = torch.tensor([0.3, 0.02, 0.4, 0.1, 0.1, 0.08])
    generator = torch.Generator().manual_seed(3)
    drawn = sample(probabilities.log().expand(20_000, 6), Sampling(**cuts), [generator] * 20_000)
    kept = probabilities if not cuts else probabilities * torch.tensor([1, 0, 1, 1, 1, cuts != {"top_k": 4}])
    shares = torch.tensor(drawn).bincount(minlength=6) / 20_000
    torch.testing.assert_close(shares, kept / kept.sum(), atol=0.012, rtol=0)
    assert shares[kept == 0].sum() == 0


def test_a_flat_row_sorts_the_whole_vocabulary_and_leaves_its_neighbours_alone() -> None:
    steep = torch.zeros(5000).index_fill(0, torch.tensor([7, 8]), 20.0)
    sampling = Sampling(top_p=0.9)

    def drawn(logits: Tensor) -> list[int]:
        return sample(logits, sampling, [torch.Generator().manual_seed(seed) for seed in range(len(logits))])

    alone = drawn(steep.expand(400, 5000))
    with_flat = drawn(torch.stack([steep, torch.arange(5000) / 1e4] * 200))
    assert with_flat[::2] == alone[::2]
    assert set(alone) == {7, 8}
    # 90 % of a nearly flat row are the later 88 % of it; the first 1,024 hold a quarter.
    assert 500 < min(with_flat[1::2]) < max(with_flat[1::2]) - 3000


@pytest.mark.parametrize("cuts", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_cuts_out_of_range_are_refused(cuts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(cuts))):
        draw(**cuts)
