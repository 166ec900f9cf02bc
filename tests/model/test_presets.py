"""The presets have the papers' sizes."""

import pytest
import torch

from model import GPT, PRESETS

EXACT = {
    # The released weights: openai/gpt-2's four models, and openai-gpt for GPT-1.
    "gpt1": 116_534_784,
    "gpt2-small": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
ROUNDED = {
    # Brown et al. 2020, table 2.1; GPT-1's 117M is the number that GPT-2's paper gives it.
    "gpt1": 117e6,
    "gpt3-small": 125e6,
    "gpt3-medium": 350e6,
    "gpt3-large": 760e6,
    "gpt3-xl": 1.3e9,
    "gpt3-2.7b": 2.7e9,
    "gpt3-6.7b": 6.7e9,
    "gpt3-13b": 13.0e9,
    "gpt3-175b": 175e9,
}


def count(name: str) -> int:
    """Parameters of a preset without the padding of its vocabulary; nothing is allocated."""
    config = PRESETS[name]
    with torch.device("meta"):
        model = GPT(config)
    padding = (config.padded_vocab_size - config.vocab_size) * config.d_model
    return sum(parameter.numel() for parameter in model.parameters()) - padding


@pytest.mark.parametrize("name", EXACT)
def test_a_preset_has_exactly_the_released_models_parameters(name: str) -> None:
    assert count(name) == EXACT[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_a_preset_has_the_papers_size_within_two_per_cent(name: str) -> None:
    assert count(name) == pytest.approx(ROUNDED[name], rel=0.02)


def test_every_preset_is_held_against_its_paper() -> None:
    assert set(PRESETS) == set(EXACT) | set(ROUNDED)
