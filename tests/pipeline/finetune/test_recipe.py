"""Schedules and optimizers are those of the papers' code, written out as formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from pipeline.finetune.recipe import optimizer_of, rate_of
from pipeline.finetune.settings import Finetune

LR, B1, B2, EPS, DECAY = 0.1, 0.8, 0.9, 1e-2, 0.3
Array = npt.NDArray[np.float64]


def settings(recipe: str, **more: Any) -> Finetune:
    given = {"dir": "x", "init_from": "y", "kind": "classification", "train": "z", "metrics": ["accuracy"]}
    return Finetune.model_validate({**given, "recipe": recipe, **more})


def paper(p: Array, m: Array, v: Array, t: int, rate: float, decay: float) -> Array:
    """opt.py of openai/finetune-transformer-lm."""
    size = rate * math.sqrt(1 - B2**t) / (1 - B1**t)
    return p - size * (m / (np.sqrt(v) + EPS) + decay * p)


def adamw(p: Array, m: Array, v: Array, t: int, rate: float, decay: float) -> Array:
    """Loshchilov and Hutter 2019, algorithm 2, as torch has it."""
    return p * (1 - rate * decay) - rate * (m / (1 - B1**t)) / (np.sqrt(v / (1 - B2**t)) + EPS)


@pytest.mark.parametrize(("recipe", "formula"), [("gpt1", paper), ("glue", adamw)])
@pytest.mark.parametrize("shape", [(3, 4), (5,)], ids=["a matrix", "a vector, which does not decay"])
def test_updates_are_those_of_the_formula(recipe: str, formula: Any, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    expected, m, v = draw.normal(size=shape), np.zeros(shape), np.zeros(shape)
    parameter = nn.Parameter(torch.tensor(expected))
    optimizer = optimizer_of(
        settings(recipe, lr=LR, betas=(B1, B2), eps=EPS, weight_decay=DECAY), [parameter]
    )
    for t in (1, 2, 3, 4):
        gradient, rate = draw.normal(size=shape), LR / t
        parameter.grad = torch.tensor(gradient)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        m, v = B1 * m + (1 - B1) * gradient, B2 * v + (1 - B2) * gradient**2
        expected = formula(expected, m, v, t, rate, DECAY if len(shape) > 1 else 0.0)
        torch.testing.assert_close(parameter.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_the_paper_s_rate_rises_over_a_share_of_the_updates_while_it_falls() -> None:
    rates = [rate_of(settings("gpt1", lr=1.0, warmup=0.2), update, 10) for update in range(10)]
    assert rates == pytest.approx([0, 0.45, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_the_glue_recipe_falls_from_its_peak_to_0() -> None:
    rates = [rate_of(settings("glue", lr=1.0), update, 4) for update in range(4)]
    assert rates == [1, 0.75, 0.5, 0.25]


def test_every_number_of_a_recipe_can_be_overridden() -> None:
    assert (settings("gpt1").lr, settings("glue").lr, settings("glue", lr=3).lr) == (6.25e-5, 2e-5, 3)
    assert (settings("gpt1").lm_coef, settings("glue").lm_coef) == (0.5, 0)
    assert settings("gpt1", dir=Path("a")).max_length is None
