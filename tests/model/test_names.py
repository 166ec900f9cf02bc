"""Canonical names and the padding of the vocabulary."""

import pytest
import torch

from model import GPTConfig
from model.names import canonical_name, padded, unpadded

CONFIG = GPTConfig(n_layer=3, n_head=2, d_model=8, n_ctx=16, vocab_size=50)


@pytest.mark.parametrize(
    ("engine_name", "canonical"),
    [
        ("tied_modules.wte.weight", "wte.weight"),
        ("module.tied_modules.wte.weight", "wte.weight"),
        ("1.weight", "wpe.weight"),
        ("4.attn.qkv.weight", "h.2.attn.qkv.weight"),
        ("module.2.mlp.proj.bias", "h.0.mlp.proj.bias"),
        ("5.bias", "ln_f.bias"),
        ("h.1.ln_1.weight", "h.1.ln_1.weight"),
        ("module.h.1.ln_1.weight", "h.1.ln_1.weight"),
    ],
)
def test_an_engines_name_becomes_the_canonical_one(engine_name: str, canonical: str) -> None:
    assert canonical_name(engine_name, CONFIG) == canonical
    assert canonical_name(canonical, CONFIG) == canonical


@pytest.mark.parametrize("name", ["h.3.attn.qkv.weight", "9.weight", "head.weight", "lm_head.weight", ""])
def test_a_name_that_no_layer_owns_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="belongs to no layer of this model"):
        canonical_name(name, CONFIG)


def test_padding_goes_and_comes_back_as_zeros() -> None:
    weight = torch.randn(50, 8)
    in_memory = padded("wte.weight", weight, CONFIG)
    assert in_memory.shape == (128, 8)
    assert not in_memory[50:].any()
    assert torch.equal(unpadded("wte.weight", in_memory, CONFIG), weight)


def test_only_the_vocabulary_is_padded() -> None:
    weight = torch.randn(16, 8)
    assert padded("wpe.weight", weight, CONFIG) is weight
    assert unpadded("h.0.attn.qkv.weight", weight, CONFIG) is weight
