"""Canonical parameter names: one for each parameter, whatever engine holds it. Pure functions.

The canonical name is the dense GPT's: "wte.weight", "h.3.attn.qkv.weight", "ln_f.bias". Checkpoints,
initialisation and exports know a parameter by it, so any layout can read what another wrote.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from model.config import GPTConfig
from model.layers import layers

PADDED = ("wte.weight", "head.weight")
"""Parameters with one row a token, padded in memory to config.padded_vocab_size rows."""


def canonical_name(engine_name: str, config: GPTConfig) -> str:
    """Translate a name from PipelineModule, or from the dense GPT, with or without "module." before it.

    PipelineModule calls a layer by its place in the list, and a tied one by its key:
    "4.attn.qkv.weight" -> "h.2.attn.qkv.weight", "tied_modules.wte.weight" -> "wte.weight".

    Raises ValueError for a name that no layer of this config owns.
    """
    owners = [layer.owner for layer in layers(config)]
    name = engine_name.removeprefix("module.").removeprefix("tied_modules.")
    place, _, rest = name.partition(".")
    if place.isdecimal() and int(place) < len(owners):
        name = f"{owners[int(place)]}.{rest}"
    if not any(name.startswith(f"{owner}.") for owner in owners):
        raise ValueError(
            f"parameter {engine_name!r} belongs to no layer of this model ({owners[0]} ... {owners[-1]}): "
            "was it saved with another config?"
        )
    return name


def unpadded(name: str, tensor: Tensor, config: GPTConfig) -> Tensor:
    """Drop the padding rows of a vocabulary matrix (or its optimizer state); others pass as they are."""
    return tensor[: config.vocab_size] if name in PADDED else tensor


def padded(name: str, tensor: Tensor, config: GPTConfig) -> Tensor:
    """Put the padding rows back, as zeros; the inverse of `unpadded`."""
    if name not in PADDED:
        return tensor
    return F.pad(tensor, (0, 0, 0, config.padded_vocab_size - tensor.size(0)))
