"""Small models with every kind of layer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from model import GPT, GPTConfig
from model.init import initialise


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two threads a process cost more than they bring on tensors this small."""
    torch.set_num_threads(1)


@pytest.fixture
def make_model() -> Callable[..., GPT]:
    """Build a tiny GPT from the fields that a test cares about, initialised by seed 0."""

    def make(**fields: Any) -> GPT:
        sizes = {"n_layer": 3, "n_head": 2, "d_model": 16, "n_ctx": 24, "vocab_size": 61, "init_std": 0.2}
        config = GPTConfig(**sizes | fields)
        model = GPT(config)
        initialise(model.named_parameters(), config, seed=0)
        return model

    return make


KINDS: dict[str, dict[str, Any]] = {
    "dense": {},
    "banded": {"attention": ("dense", "banded:5")},
    "post-norm": {"norm": "post"},
    "untied": {"tied": False},
    "wide heads": {"d_head": 12, "attention": ("banded:3",)},
}


@pytest.fixture(params=list(KINDS))
def model(request: pytest.FixtureRequest, make_model: Callable[..., GPT]) -> GPT:
    """One model of each kind, in evaluation mode."""
    return make_model(**KINDS[request.param]).eval()
