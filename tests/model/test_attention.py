"""Attention: the band is exact, the cache sees the same as the whole sequence does."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model import GPT, GPTConfig
from model.attention import Attention, KVCache, banded_attention


def masked_attention(q: Tensor, k: Tensor, v: Tensor, band: int) -> Tensor:
    """The definition: a softmax over all keys, with those outside the band at -inf."""
    time = torch.arange(q.size(2))
    distance = time[:, None] - time
    scores = q @ k.mT / q.size(-1) ** 0.5
    outside = (distance < 0) | (distance >= band)
    weights: Tensor = scores.masked_fill(outside, -torch.inf).softmax(-1)
    return torch.matmul(weights, v)


@given(time=st.integers(2, 40), band=st.integers(1, 39))
@settings(max_examples=60)
def test_banded_attention_and_its_gradients_equal_the_masked_reference(time: int, band: int) -> None:
    band = min(band, time - 1)
    q, k, v = (torch.randn(2, 3, time, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    banded, reference = banded_attention(q, k, v, band), masked_attention(q, k, v, band)
    torch.testing.assert_close(banded, reference)
    weight = torch.randn_like(banded)
    gradients = torch.autograd.grad(banded, (q, k, v), weight)
    torch.testing.assert_close(gradients, torch.autograd.grad(reference, (q, k, v), weight))


def test_a_band_of_one_token_sees_only_itself() -> None:
    q, k, v = torch.randn(3, 1, 2, 7, 4)
    torch.testing.assert_close(banded_attention(q, k, v, 1), v)


@pytest.mark.parametrize("time", [5, 6, 24])
def test_a_layer_with_a_band_is_the_masked_layer_at_every_length(time: int) -> None:
    config = GPTConfig(
        n_layer=2, n_head=2, d_model=8, n_ctx=24, vocab_size=9, attention=("dense", "banded:5")
    )
    hidden = torch.randn(2, time, 8)
    for layer, band in ((0, time), (1, 5)):
        attention = Attention(config, layer)
        q, k, v = attention.qkv(hidden).view(2, time, 3, 2, 4).permute(2, 0, 3, 1, 4)
        expected = attention.proj(masked_attention(q, k, v, band).transpose(1, 2).flatten(2))
        torch.testing.assert_close(attention(hidden), expected)


def test_no_token_sees_a_later_one(model: GPT) -> None:
    tokens = torch.randint(61, (1, 24))
    changed = tokens.clone()
    changed[:, 13:] = (changed[:, 13:] + 1) % 61
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :13], after[:, :13])
    assert not torch.allclose(before[:, 13:], after[:, 13:])


def test_a_banded_layer_forgets_what_left_its_band(make_model: Callable[..., GPT]) -> None:
    model = make_model(n_layer=1, attention=("banded:5",)).eval()
    tokens = torch.randint(61, (1, 20))
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 61
    moved = (model(tokens) - model(changed)).abs().amax((0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [10, 11, 12, 13, 14]


def test_a_cache_keeps_no_more_than_the_band() -> None:
    config = GPTConfig(n_layer=1, n_head=2, d_model=8, n_ctx=64, vocab_size=9, attention=("banded:5",))
    attention, cache = Attention(config, 0), KVCache([20])
    attention(torch.randn(1, 20, 8), cache)
    one = torch.randn(1, 2, 1, 4)
    kept, _, mask = cache.append(one, one, band=5)
    assert cache.positions is not None
    assert (kept.size(2), cache.positions.tolist(), mask) == (5, [[21]], None)


def test_a_short_row_of_a_cache_is_masked_until_it_fills_the_band() -> None:
    cache, prompts = KVCache([4, 2]), torch.randn(2, 1, 4, 3)
    cache.fill(prompts, prompts, band=4)
    masks = []
    for _ in range(3):
        one = torch.randn(2, 1, 1, 3)
        _, _, mask = cache.append(one, one, band=4)
        masks.append(None if mask is None else mask.flatten(1).tolist())
    assert masks == [[[True] * 4, [False, True, True, True]], None, None]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    band=st.none() | st.integers(1, 12),
    steps=st.lists(st.none() | st.lists(st.integers(0, 99), max_size=5), max_size=40),
)
@settings(max_examples=60)
def test_a_cache_holds_what_every_row_has_seen(
    lengths: list[int], band: int | None, steps: list[list[int] | None]
) -> None:
    # A step appends a token to each row, or selects rows.
    numbers = torch.arange(1000.0)[:, None].expand(1000, 3)  # a token's key and value are its number
    rows = [[10 * row + column for column in range(length)] for row, length in enumerate(lengths)]
    padded = torch.tensor([row + [0] * (max(lengths) - len(row)) for row in rows])
    cache, fresh = KVCache(lengths), 100
    cache.fill(numbers[padded][:, None], -numbers[padded][:, None], band)
    for step in steps:
        if step is not None:
            chosen = [number % len(rows) for number in step] or [0]
            cache.select(chosen)
            rows = [list(rows[row]) for row in chosen]
            continue
        for row in rows:
            row.append(fresh)
            fresh += 1
        newest = numbers[torch.tensor([row[-1:] for row in rows])][:, None]
        keys, values, mask = cache.append(newest, -newest, band)
        assert torch.equal(keys, -values)
        shown = torch.ones(len(rows), keys.size(2), dtype=torch.bool) if mask is None else mask[:, 0, 0]
        seen = [key[0, own, 0].tolist() for key, own in zip(keys, shown, strict=True)]
        assert seen == [row[-(band or len(row)) :] for row in rows]
        assert cache.positions is not None
        assert cache.positions.tolist() == [[len(row)] for row in rows]


def test_dropout_acts_in_training_only(make_model: Callable[..., GPT]) -> None:
    model, tokens = make_model(dropout=0.5, attention=("dense", "banded:4")), torch.randint(61, (1, 12))
    assert not torch.equal(model.train()(tokens), model(tokens))
    assert torch.equal(model.eval()(tokens), model(tokens))
