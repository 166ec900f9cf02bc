"""Scores of many requests are those of each by itself, whatever they share and however they are batched."""

import math
from collections.abc import Callable, Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import GPT, GPTConfig
from model.init import initialise
from model.score import likeliest, score
from model.tree import Text, rows

from .conftest import KINDS

Request = tuple[list[int], list[int]]

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=24)
# Contexts are drawn from a few, so that many begin alike; some are too long.
LONG = TOKENS.map(lambda tokens: tokens * 3)
REQUESTS = st.lists(TOKENS | LONG, min_size=1, max_size=4).flatmap(
    lambda contexts: st.lists(st.tuples(st.sampled_from(contexts), TOKENS), max_size=12)
)


@cache
def small(kind: str, dtype: torch.dtype) -> GPT:
    """A model of each kind of layer."""
    sizes = {"n_layer": 2, "n_head": 2, "d_model": 16, "n_ctx": 24, "vocab_size": 61, "init_std": 0.2}
    config = GPTConfig(**{**sizes, **KINDS[kind]})
    model = GPT(config)
    initialise(model.named_parameters(), config, seed=0)
    return model.to(dtype).eval()


@torch.no_grad()
def alone(model: GPT, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
    """The definition: the plain forward pass over one request."""
    whole = [*context, *continuation][-model.config.n_ctx - 1 :]
    found = model(torch.tensor([whole[:-1]]))[0, -len(continuation) :].log_softmax(-1)
    targets = torch.tensor(continuation)
    chosen = found.gather(1, targets[:, None]).double().sum()
    return float(chosen), bool((found.argmax(-1) == targets).all())


@pytest.mark.slow(5)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(requests=REQUESTS, batch_tokens=st.sampled_from([1, 60, 4096]))
def test_requests_together_score_what_each_scores_alone(
    kind: str, dtype: torch.dtype, near: float, requests: list[Request], batch_tokens: int
) -> None:
    model = small(kind, dtype)
    found = score(model, requests, batch_tokens=batch_tokens)
    expected = [alone(model, *request) for request in requests]
    assert [value for value, _ in found] == pytest.approx(
        [value for value, _ in expected], rel=near, abs=near
    )
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


CHOICES: list[Request] = [([5, 6, 7, 8], [end, 9, end]) for end in (1, 2, 3, 4)]
CONTEXTS: list[Request] = [([5, 6, name, 7, 7], [3, 3, 3]) for name in (1, 2)]


@pytest.mark.parametrize(("requests", "tokens"), [(CHOICES, 4 + 4 * 2), (CONTEXTS, 2 + 2 * 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_choices_share_their_context_and_contexts_their_beginning(
    kind: str, requests: list[Request], tokens: int
) -> None:
    model = small(kind, torch.float64)
    texts = [Text((*context, *end[:-1]), len(end)) for context, end in requests]
    (row,) = rows(texts, largest=99, pairs=32)
    assert (row.branches, len(row.tokens)) == (True, tokens)
    for found, request in zip(score(model, requests), requests, strict=True):
        assert found == pytest.approx(alone(model, *request), abs=1e-9)


def test_a_chunk_of_logits_ends_anywhere(
    make_model: Callable[..., GPT], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model().double()
    requests: list[Request] = [([5], [length, *range(length)]) for length in range(2, 9)]
    contexts = [context + continuation for context, continuation in requests]
    whole, named = score(model, requests), likeliest(model, contexts, 3)
    for states in (1, 4):
        monkeypatch.setattr("model.score.LARGEST_CHUNK", states * model.config.padded_vocab_size)
        assert score(model, requests) == [(pytest.approx(value), greedy) for value, greedy in whole]
        assert likeliest(model, contexts, 3) == [
            [(token, pytest.approx(value)) for token, value in each] for each in named
        ]


@torch.no_grad()
def test_a_model_in_bf16_has_its_probabilities_in_fp32(make_model: Callable[..., GPT]) -> None:
    model = make_model().to(torch.bfloat16)
    expected = model(torch.tensor([[5, 6, 7]]))[0].float().log_softmax(-1)
    ((found, _),) = score(model, [([5], [6, 7, 8])])
    assert found == pytest.approx(float(expected[range(3), [6, 7, 8]].double().sum()), abs=1e-5)
    ((best, *_),) = likeliest(model, [[5, 6, 7]], 1)
    assert best[1] == pytest.approx(float(expected[-1, :61].max()), abs=1e-5)


def test_greedy_is_what_the_model_writes(make_model: Callable[..., GPT]) -> None:
    model = make_model()
    context, written = [5, 3], list[int]()
    for _ in range(4):
        ((best, *_),) = likeliest(model, [[*context, *written]], 3)
        written.append(best[0])
    other = [(written[0] + 1) % 61, *written[1:]]
    assert [greedy for _, greedy in score(model, [(context, written), (context, other)])] == [True, False]


def test_likeliest_are_the_first_of_all_tokens_by_probability(model: GPT) -> None:
    contexts = [[5], [5, 6, 7], [(3 * i) % 61 for i in range(60)], [5]]
    for context, found in zip(contexts, likeliest(model, contexts, 99), strict=True):
        expected = model(torch.tensor([context[-24:]]))[0, -1, :61].log_softmax(-1)
        assert [token for token, _ in found] == expected.argsort(descending=True).tolist()
        assert [value for _, value in found] == pytest.approx(
            expected.sort(descending=True)[0].tolist(), abs=1e-5
        )


@torch.no_grad()
def test_a_model_of_zeros_finds_all_tokens_equal(make_model: Callable[..., GPT]) -> None:
    model = make_model()
    for weight in model.parameters():
        weight.zero_()
    assert score(model, [([7], [0, 0]), ([7], [0, 1])]) == [
        (pytest.approx(-2 * math.log(61), rel=1e-6), True),
        (pytest.approx(-2 * math.log(61), rel=1e-6), False),  # of equals the first is the likeliest
    ]


def test_progress_counts_every_request(make_model: Callable[..., GPT]) -> None:
    done: list[int] = []
    requests: list[Request] = [([length] * length, [2]) for length in range(1, 24)]
    score(make_model(), requests, batch_tokens=40, progress=done.append)
    assert sum(done) == 23
    assert len(done) > 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (([], [1]), "request 1: its context is empty"),
        (([1], []), "request 1: its continuation is empty"),
        (([1], [2] * 25), "request 1: 25 tokens do not fit a context of 24"),
    ],
)
def test_a_request_that_cannot_be_scored_is_named(
    wrong: Request, message: str, make_model: Callable[..., GPT]
) -> None:
    with pytest.raises(ValueError, match=message):
        score(make_model(), [([1], [2] * 24), wrong])


def test_an_empty_context_has_no_likeliest_tokens(make_model: Callable[..., GPT]) -> None:
    with pytest.raises(ValueError, match="context 1 is empty"):
        likeliest(make_model(), [[1], []], 3)
