"""Tokens in, logits out: the embedding matrix from both of its sides, and the learned positions."""

from __future__ import annotations

from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GPTConfig
from model.loss import head_loss
from model.tied_gradient import embed, via


class Role(Enum):
    """What a TokenEmbedding computes with its matrix."""

    EMBED = "tokens -> hidden"
    SHARE = "tokens -> hidden, and the path on which the head's gradient comes back (model.tied_gradient)"
    PROJECT = "hidden -> logits; hidden and targets -> their mean loss"


class TokenEmbedding(nn.Module):
    """The matrix (padded_vocab, d_model) that embeds tokens and, as the head, projects back to them.

    Whatever needs the matrix is a Role of `forward`, and calls the module: under ZeRO-3 a weight exists only
    while its module's forward runs. `embed_sharing` and `project` are the typed ways in.

    It holds nothing else: DeepSpeed copies a tied module to the last stage, and synchronises its `weight`
    only.
    """

    role = Role.EMBED
    """Its role when a caller names none, as a pipeline does."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.vocab_size = config.vocab_size
        self.weight = nn.Parameter(torch.empty(config.padded_vocab_size, config.d_model))

    def forward(
        self, x: Tensor, targets: Tensor | None = None, path: Tensor | None = None, role: Role | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Play a role; `x` is tokens (batch, time) int64 or hidden states (batch, time, d_model)."""
        match role or self.role:
            case Role.EMBED:
                return F.embedding(x, self.weight)
            case Role.SHARE:
                return embed(x, self.weight)
            case Role.PROJECT:
                return self._logits(x) if targets is None else self._loss(x, targets, path)

    def _logits(self, hidden: Tensor) -> Tensor:
        """Logits (batch, time, padded_vocab); those of the padding are so low that softmax makes them 0."""
        # As a bias the mask is free: one fused matrix product, and no gradient reaches the padding.
        bias = self.weight.new_zeros(self.weight.size(0))
        bias[self.vocab_size :] = torch.finfo(bias.dtype).min / 2
        return F.linear(hidden, self.weight, bias)

    def _loss(self, hidden: Tensor, targets: Tensor, path: Tensor | None) -> Tensor:
        """The mean loss for targets (batch, time) int64; the logits never stand whole."""
        weight = self.weight if path is None else via(path, self.weight)
        return head_loss(hidden, weight, targets, self.vocab_size)


class Head(TokenEmbedding):
    """A head with a matrix of its own, for models that do not tie it to the embedding."""

    role = Role.PROJECT


def embed_sharing(embedding: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states of tokens, and the path by which a loss adds to one gradient for both roles."""
    shared: tuple[Tensor, Tensor] = embedding(tokens, role=Role.SHARE)
    return shared


def project(
    embedding: nn.Module, hidden: Tensor, targets: Tensor | None = None, path: Tensor | None = None
) -> Tensor:
    """Logits (batch, time, padded_vocab) of hidden (batch, time, d_model); with targets, their mean loss."""
    out: Tensor = embedding(hidden, targets, path, Role.PROJECT)
    return out


class PositionEmbedding(nn.Module):
    """Adds a learned vector to each position, then drops out.

    A layer of its own, not part of the tied one: there its copy on the last stage would drift unseen.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_ctx, config.d_model))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, positions: Tensor | None = None) -> Tensor:
        """Add the vectors of the positions to (batch, time, d_model).

        `positions` (batch, time) int64 are those of the tokens; without them each row begins at 0, and
        ValueError is raised when it is longer than the context.
        """
        time, n_ctx = hidden.size(1), self.weight.size(0)
        if positions is None and time > n_ctx:
            raise ValueError(f"{time} tokens do not fit a context of {n_ctx}: shorten the input")
        added = self.weight[:time] if positions is None else F.embedding(positions, self.weight)
        out: Tensor = self.dropout(hidden + added)
        return out
