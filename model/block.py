"""One transformer block, with layer norm before its sublayers (GPT-2, GPT-3) or after them (GPT-1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import Attention, KVCache
from model.branches import Branches
from model.config import GPTConfig


class Block(nn.Module):
    """Attention, then a feed-forward layer, each added to the residual stream (batch, time, d_model)."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.ln_1 = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.attn = Attention(config, layer)
        self.ln_2 = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, cache: KVCache | None = None, branches: Branches | None = None
    ) -> Tensor:
        """Transform (batch, time, d_model); `cache` lets generation feed one token at a time, `branches`
        make rows trees."""
        if self.pre_norm:
            hidden = hidden + self.dropout(self.attn(self.ln_1(hidden), cache, branches))
            hidden = hidden + self.dropout(self.mlp(self.ln_2(hidden)))
        else:
            hidden = self.ln_1(hidden + self.dropout(self.attn(hidden, cache, branches)))
            hidden = self.ln_2(hidden + self.dropout(self.mlp(hidden)))
        return hidden


class MLP(nn.Module):
    """Two linear layers round a GELU, in the tanh form of GPT-1's and GPT-2's released code."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.d_model, config.ff_width)
        self.proj = nn.Linear(config.ff_width, config.d_model)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform each position of (batch, time, d_model) by itself."""
        out: Tensor = self.proj(F.gelu(self.fc(hidden), approximate="tanh"))
        return out
