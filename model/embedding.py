"""Tokens in, logits out: the embedding matrix from both of its sides, and the learned positions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GPTConfig
from model.loss import head_loss
from model.tied import by, embed


class TokenEmbedding(nn.Module):
    """The matrix (padded_vocab, d_model) that embeds tokens and, as the head, projects back to them.

    It holds nothing else: DeepSpeed copies a tied module to the last stage, and synchronises its
    `weight` only.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.vocab_size = config.vocab_size
        self.weight = nn.Parameter(torch.empty(config.padded_vocab_size, config.d_model))

    def forward(
        self,
        x: Tensor,
        targets: Tensor | None = None,
        project: bool = False,
        path: Tensor | None = None,
        share: bool = False,
    ) -> Any:
        """Tokens (batch, time) int64 -> hidden (batch, time, d_model); with `project`, hidden -> logits.

        Logits are (batch, time, padded_vocab); those of the padding are so low that softmax makes them 0.
        With targets (batch, time) int64 too, the mean loss of those logits, which never stand whole.

        Tokens with `share` -> (hidden, path): the loss that is given the path makes one gradient of the
        matrix with the embedding (`model.tied`).
        """
        if share:
            return embed(x, self.weight)
        if not project:
            return F.embedding(x, self.weight)
        if targets is not None:
            weight = self.weight if path is None else by(path, self.weight)
            return head_loss(x, weight, targets, self.vocab_size)
        # As a bias the mask is free: one fused matrix product, and no gradient reaches the padding.
        bias = self.weight.new_zeros(self.weight.size(0))
        bias[self.vocab_size :] = torch.finfo(bias.dtype).min / 2
        return F.linear(x, self.weight, bias)


def project(embedding: nn.Module, hidden: Tensor, targets: Tensor | None = None) -> Tensor:
    """Logits (batch, time, padded_vocab) of hidden states (batch, time, d_model), or their loss.

    It calls the module instead of reading its weight: ZeRO-3 gathers a weight for its module's forward only.
    """
    out: Tensor = embedding(hidden, targets, project=True)
    return out


class Head(TokenEmbedding):
    """A head with a matrix of its own, for models that do not tie it to the embedding."""

    def forward(
        self,
        x: Tensor,
        targets: Tensor | None = None,
        project: bool = True,
        path: Tensor | None = None,
        share: bool = False,
    ) -> Any:
        """Project hidden (batch, time, d_model) to logits (batch, time, padded_vocab), or to their loss."""
        return super().forward(x, targets, project, path, share)


class PositionEmbedding(nn.Module):
    """Adds a learned vector to each position, then drops out.

    A layer of its own, not part of the tied one: there its copy on the last stage would drift unseen.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.n_ctx, config.d_model))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, seen: Tensor | None = None) -> Tensor:
        """Add the positions to (batch, time, d_model), where row b continues `seen[b]` tokens (batch,) int64.

        Raises ValueError beyond the context.
        """
        time, n_ctx = hidden.size(1), self.weight.size(0)
        if time > n_ctx:
            raise ValueError(f"{time} tokens do not fit a context of {n_ctx}: shorten the input")
        if seen is None:
            positions = self.weight[:time]
        else:
            positions = F.embedding(seen[:, None] + torch.arange(time, device=seen.device), self.weight)
        out: Tensor = self.dropout(hidden + positions)
        return out
