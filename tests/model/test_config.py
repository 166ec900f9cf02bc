"""Configurations: what the papers say, and what is refused."""

import re
import subprocess
import sys
from typing import Any

import pytest

from model.config import GPTConfig
from model.presets import PRESETS

TINY: dict[str, Any] = {"n_layer": 2, "n_head": 2, "d_model": 8, "n_ctx": 16, "vocab_size": 50}


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"n_layer": 0}, "n_layer is 0: it must be at least 1"),
        ({"d_head": 0}, "d_head is 0"),
        ({"n_head": 3}, "d_model 8 does not divide into 3 heads: use n_head 2, or give d_head"),
        ({"norm": "rms"}, "use 'pre' (GPT-2, GPT-3) or 'post' (GPT-1)"),
        ({"dropout": 1.0}, "it is a probability"),
        ({"init_std": 0.0}, "init_std is 0.0: it must be above 0"),
        ({"init_std": float("nan")}, "it must be above 0"),
        ({"attention": ()}, "attention is empty"),
        ({"attention": ("dense", "banded")}, "attention 'banded' is unknown: use 'dense', or 'banded:W'"),
        ({"attention": ("banded:0",)}, "attention 'banded:0' is unknown"),
    ],
)
def test_a_config_that_cannot_be_is_refused_with_advice(change: dict[str, Any], advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        GPTConfig(**TINY | change)


def test_the_attention_pattern_cycles_over_the_blocks() -> None:
    config = GPTConfig(**TINY | {"n_layer": 5, "attention": ["dense", "banded:4"]})
    assert [config.band(layer) for layer in range(5)] == [None, 4, None, 4, None]


def test_a_config_read_from_yaml_equals_the_same_config_in_python() -> None:
    assert GPTConfig(**TINY, attention=["dense"]) == GPTConfig(**TINY, attention=("dense",))  # type: ignore[arg-type]


def test_the_vocabulary_is_padded_to_the_next_multiple_of_128() -> None:
    assert PRESETS["gpt2-small"].padded_vocab_size == 50304
    assert GPTConfig(**TINY | {"vocab_size": 256}).padded_vocab_size == 256


def test_gpt3_alternates_dense_and_banded_layers_and_the_others_are_dense() -> None:
    for name, config in PRESETS.items():
        bands = {config.band(layer) for layer in range(config.n_layer)}
        assert bands == ({None, 256} if name.startswith("gpt3") else {None}), name


def test_configs_are_checked_without_importing_torch() -> None:
    code = "import sys, model; model.GPTConfig; model.PRESETS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
