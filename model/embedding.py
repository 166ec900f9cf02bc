"""Tokens in, logits out: the embedding matrix from both of its sides, and the learned positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GPTConfig


class TokenEmbedding(nn.Module):
    """The matrix (padded_vocab, d_model) that embeds tokens and, as the head, projects back to them.

    It holds nothing else: DeepSpeed copies a tied module to the last stage, and synchronises its
    `weight` only.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.vocab_size = config.vocab_size
        self.weight = nn.Parameter(torch.empty(config.padded_vocab_size, config.d_model))

    def forward(self, x: Tensor, project: bool = False) -> Tensor:
        """Tokens (batch, time) int64 -> hidden (batch, time, d_model); with `project`, hidden -> logits.

        Logits are (batch, time, padded_vocab); those of the padding are so low that softmax makes them 0.
        """
        if not project:
            return F.embedding(x, self.weight)
        # As a bias the mask is free: one fused matrix product, and no gradient reaches the padding.
        bias = self.weight.new_zeros(self.weight.size(0))
        bias[self.vocab_size :] = torch.finfo(bias.dtype).min / 2
        return F.linear(x, self.weight, bias)


def project(embedding: nn.Module, hidden: Tensor) -> Tensor:
    """Logits (batch, time, padded_vocab) of hidden states (batch, time, d_model).

    It calls the module instead of reading its weight: ZeRO-3 gathers a weight for its module's forward only.
    """
    logits: Tensor = embedding(hidden, project=True)
    return logits


class Head(TokenEmbedding):
    """A head with a matrix of its own, for models that do not tie it to the embedding."""

    def forward(self, x: Tensor, project: bool = True) -> Tensor:
        """Project hidden (batch, time, d_model) to logits (batch, time, padded_vocab)."""
        return super().forward(x, project)


class PositionEmbedding(nn.Module):
    """Adds a learned vector to each position, then drops out.

    A layer of its own, not part of the tied one: there its copy on the last stage would drift unseen.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_ctx, config.d_model))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, start: int = 0) -> Tensor:
        """Add positions start, start + 1, ... to (batch, time, d_model); ValueError beyond the context."""
        end = start + hidden.size(1)
        if end > self.weight.size(0):
            raise ValueError(f"{end} tokens do not fit a context of {self.weight.size(0)}: shorten the input")
        out: Tensor = self.dropout(hidden + self.weight[start:end])
        return out
