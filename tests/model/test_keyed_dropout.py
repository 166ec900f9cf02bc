"""Dropout by keys: what a row loses depends on its key alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model import GPT
from model.keyed_dropout import KeyedDropout

TOKENS = torch.randint(61, (4, 12), generator=torch.Generator().manual_seed(0))
KEYS = [5, 2**64 - 1, 7, 5]


@pytest.fixture
def dropping(make_model: Callable[..., GPT]) -> Callable[[Tensor, list[int]], Tensor]:
    model = make_model(dropout=0.3, attention=("dense", "banded:4")).train()
    dropout = KeyedDropout(0.3)
    dropout.install(model)

    def hidden(tokens: Tensor, keys: list[int]) -> Tensor:
        dropout.begin(keys, tokens.device)
        return model.hidden(tokens)

    return hidden


def test_a_row_is_the_same_in_any_batch(dropping: Callable[[Tensor, list[int]], Tensor]) -> None:
    whole = dropping(TOKENS, KEYS)
    parts = [dropping(TOKENS[rows], [KEYS[row] for row in rows]) for rows in ([3, 1], [0, 2])]
    torch.testing.assert_close(torch.cat(parts), whole[[3, 1, 0, 2]], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(whole, dropping(TOKENS, [6, 8, 9, 10]), atol=1e-2)


def test_nothing_is_left_to_generators_of_torch(dropping: Callable[[Tensor, list[int]], Tensor]) -> None:
    state = torch.get_rng_state()
    dropping(TOKENS, KEYS)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_share_of_p_is_dropped_and_the_mean_is_kept() -> None:
    dropout = KeyedDropout(0.3).train()
    dropout.begin([1, 2], torch.device("cpu"))
    dropped = dropout(torch.ones(2, 100_000))
    assert (dropped == 0).double().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.double().mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(dropout.eval()(dropped), dropped)


def test_attention_without_dropout_is_the_model_s_own(make_model: Callable[..., GPT]) -> None:
    model = make_model(attention=("dense", "banded:4")).train()
    expected = model.hidden(TOKENS)
    KeyedDropout(0.0).install(model)
    torch.testing.assert_close(model.hidden(TOKENS), expected, rtol=1e-5, atol=1e-6)
