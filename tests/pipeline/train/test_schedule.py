"""Learning rate by tokens, batch size by samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.sections import Optimizer, Schedule
from pipeline.train.schedule import batch_size, learning_rate


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        (0, 0.0),
        (187_500_000, 0.5),
        (375_000_000, 1.0),
        (130_187_500_000, 0.55),  # half way down the cosine
        (260_000_000_000, 0.1),
        (300_000_000_000, 0.1),
    ],
)
def test_gpt3s_learning_rate_by_tokens(tokens: int, share: float) -> None:
    rate = learning_rate(
        tokens, peak=6e-4, warmup_tokens=375_000_000, decay_tokens=260_000_000_000, min_lr_ratio=0.1
    )
    assert rate == pytest.approx(6e-4 * share)


@pytest.mark.parametrize("tokens", [10, 11, 60, 110, 999])
def test_a_min_lr_ratio_of_one_keeps_the_rate_constant_after_the_warm_up(tokens: int) -> None:
    assert learning_rate(tokens, peak=0.3, warmup_tokens=10, decay_tokens=110, min_lr_ratio=1) == 0.3


@pytest.mark.parametrize(("consumed", "batch"), [(0, 16), (976_563, 136), (1_953_125, 256), (10**9, 256)])
def test_gpt3s_batch_ramp_by_samples(consumed: int, batch: int) -> None:
    """32k to 0.5M tokens over 4 billion, in sequences of 2,048."""
    assert batch_size(consumed, full=256, multiple=8, ramp_start=16, ramp_samples=1_953_125) == batch


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), st.integers(0, 10**5))
def test_a_batch_is_a_multiple_and_never_shrinks(consumed: int, multiple: int, steps: int, ramp: int) -> None:
    recipe = {"full": multiple * steps, "multiple": multiple, "ramp_start": multiple, "ramp_samples": ramp}
    batch = batch_size(consumed, **recipe)
    assert batch % multiple == 0
    assert multiple <= batch <= batch_size(consumed + batch, **recipe) <= multiple * steps


def test_the_defaults_of_adamw_and_of_the_schedule() -> None:
    """GPT-3's (Brown et al. 2020, appendix B), but for rate, warm-up and decay, which no default fits."""
    assert Optimizer(lr=0.5).model_dump() == {
        "lr": 0.5,
        "betas": (0.9, 0.95),
        "eps": 1e-8,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
    }
    assert Schedule().model_dump() == {"warmup_tokens": 0, "decay_tokens": None, "min_lr_ratio": 0.1}
