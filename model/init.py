"""Initial weights, each a function of (seed, canonical name) alone: every layout starts from the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from model.config import GPTConfig
from model.names import PADDED, padded


def initialise(named_parameters: Iterable[tuple[str, nn.Parameter]], config: GPTConfig, seed: int) -> None:
    """Fill parameters, given by canonical name, in place; any subset in any order gets the same values."""
    with torch.no_grad():
        for name, parameter in named_parameters:
            parameter.copy_(initial_value(name, tuple(parameter.shape), config, seed))


def initial_value(name: str, shape: tuple[int, ...], config: GPTConfig, seed: int) -> Tensor:
    """Return the initial value of one whole parameter: float32 on the CPU, with its padding rows zero.

    Matrices are N(0, std), biases 0, layer-norm gains 1 (GPT-1 section 4.1; GPT-2 section 2.3).
    """
    if len(shape) == 1:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if name in PADDED:
        # Only real rows are drawn: the values do not depend on how far the vocabulary is padded.
        rows = (config.vocab_size, *shape[1:])
        return padded(name, _normal(rows, config.init_std, seed, name), config)
    return _normal(shape, _std(name, config), seed, name)


def _std(name: str, config: GPTConfig) -> float:
    """Standard deviation of a matrix; those that write into the residual stream are scaled down."""
    if name == "wpe.weight":
        return config.position_init_std
    if config.residual_scaling and name.endswith("proj.weight"):
        # "1/sqrt(N) where N is the number of residual layers": two in each block
        return config.init_std / math.sqrt(2 * config.n_layer)
    return config.init_std


def _normal(shape: tuple[int, ...], std: float, seed: int, name: str) -> Tensor:
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "big", signed=True))
    return torch.empty(shape).normal_(0.0, std, generator=generator)
