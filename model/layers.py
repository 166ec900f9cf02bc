"""The one list of layers from which the dense GPT and DeepSpeed's PipelineModule are both built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from model.block import Block
from model.config import GPTConfig
from model.embedding import Head, PositionEmbedding, TokenEmbedding, project


@dataclass(frozen=True)
class Layer:
    """One step of the model: how its module is built, and how it runs on one tensor."""

    name: str
    """Name of the position: "wte", "wpe", "h.0", ..., "ln_f", "head"."""
    module: type[nn.Module]
    args: tuple[Any, ...]
    tied_to: str | None = None
    """Layers tied to the same name share one module, whose parameters are known by that name."""
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None
    """Runs the shared module in its second role; None: the module's own forward."""

    @property
    def owner(self) -> str:
        """The prefix of its parameters' canonical names."""
        return self.tied_to or self.name

    def build(self) -> nn.Module:
        """Make the module; its parameters are not initialised yet."""
        return self.module(*self.args)


def layers(config: GPTConfig) -> list[Layer]:
    """List the layers in order; each maps one tensor to one tensor, so that a pipeline can cut anywhere.

    tokens (batch, time) int64 -> hidden (batch, time, d_model) -> ... -> logits (batch, time, padded_vocab)
    """
    key = "wte" if config.tied else None
    first = [Layer("wte", TokenEmbedding, (config,), tied_to=key), Layer("wpe", PositionEmbedding, (config,))]
    blocks = [Layer(f"h.{index}", Block, (config, index)) for index in range(config.n_layer)]
    # Post-norm blocks end in a layer norm of their own.
    norm = [Layer("ln_f", nn.LayerNorm, (config.d_model, config.norm_eps))] if config.norm == "pre" else []
    tied_head = Layer("head", TokenEmbedding, (config,), tied_to="wte", forward=project)
    head = tied_head if config.tied else Layer("head", Head, (config,))
    return [*first, *blocks, *norm, head]
