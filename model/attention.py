"""Causal self-attention, dense or locally banded, on torch's scaled_dot_product_attention (SDPA).

In a banded layer of width W a token sees itself and the W - 1 tokens before it: the "locally banded
sparse" layers that GPT-3 alternates with dense ones (Brown et al. 2020, section 2.1, after Child et al.
2019). Time and memory grow with T * W instead of T * T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.branches import Branches
from model.config import GPTConfig

Dense = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""Mixes (batch, heads, time, d_head) queries, keys and values: (q, k, v, dropout)."""

Banded = Callable[[Tensor, Tensor, Tensor, int, float], Tensor]
"""The same in a band: (q, k, v, band, dropout)."""

LEAST_ROOM = 16
"""A cache reserves room for at least so many more tokens."""


class Attention(nn.Module):
    """Multi-head causal self-attention of block `layer`, with its output projection."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        width = config.n_head * config.head_width  # need not be d_model: d_head is free
        self.n_head = config.n_head
        self.band = config.band(layer)
        self.dropout = config.dropout
        self.dense: Dense = dense_attention
        """Computes a dense layer; `model.keyed_dropout` can put another form here."""
        self.banded: Banded = banded_attention
        """Computes a banded layer; `model.flex` can put another kernel here, too."""
        self.qkv = nn.Linear(config.d_model, 3 * width)
        self.proj = nn.Linear(width, config.d_model)

    def forward(
        self, hidden: Tensor, cache: KVCache | None = None, branches: Branches | None = None
    ) -> Tensor:
        """Mix (batch, time, d_model) along time; with a cache, one token continues what it has seen.

        With branches, the rows are trees, and nothing is cached.
        """
        batch, time, _ = hidden.shape
        # (batch, time, 3 * heads * d_head) -> three of (batch, heads, time, d_head)
        q, k, v = self.qkv(hidden).view(batch, time, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        if branches is not None:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=branches.masks[self.band])
        elif cache is None or cache.empty:
            if self.band is None or time <= self.band:
                mixed = self.dense(q, k, v, dropout)
            else:
                mixed = self.banded(q, k, v, self.band, dropout)
            if cache is not None:
                cache.fill(k, v, self.band)
        else:
            seen_k, seen_v, mask = cache.append(k, v, self.band)
            mixed = F.scaled_dot_product_attention(q, seen_k, seen_v, attn_mask=mask)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


def dense_attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Causal attention of (batch, heads, time, d_head)."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)


def banded_attention(q: Tensor, k: Tensor, v: Tensor, band: int, dropout: float = 0.0) -> Tensor:
    """Banded attention of (batch, heads, time, d_head), time > band, by blocks of `band` tokens.

    A query needs the keys of its block and of the one before: 2 * band keys. Equal to SDPA under the mask
    `0 <= query - key < band`.
    """
    batch, heads, time, d_head = q.shape
    blocks = -(-time // band)
    # Zeros after the last token fill its block; no real query looks forward to them.
    q, k, v = (F.pad(x, (0, 0, 0, blocks * band - time)) for x in (q, k, v))

    # The first block has none before it: it is plain causal attention.
    head = F.scaled_dot_product_attention(
        q[:, :, :band], k[:, :, :band], v[:, :, :band], is_causal=True, dropout_p=dropout
    )

    # The other blocks become a batch: (batch * (blocks - 1), heads, band or 2 * band, d_head). Four
    # dimensions, because SDPA's fast kernels take no more.
    def batched(x: Tensor) -> Tensor:
        return x.transpose(1, 2).reshape(batch * (blocks - 1), heads, -1, d_head)

    q, k, v = (x.view(batch, heads, blocks, band, d_head) for x in (q, k, v))
    query = batched(q[:, :, 1:])
    key, value = (batched(torch.cat((x[:, :, :-1], x[:, :, 1:]), 3)) for x in (k, v))
    # Query i stands at place band + i among the 2 * band keys.
    places = torch.arange(2 * band, device=q.device)
    distance = places[band:, None] - places
    mask = (distance >= 0) & (distance < band)
    tail = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)

    tail = tail.view(batch, blocks - 1, heads, band, d_head).transpose(1, 2).flatten(2, 3)
    return torch.cat((head, tail), 2)[:, :, :time]


class KVCache:
    """Keys and values of the tokens that one attention layer has seen; a banded layer keeps its last W.

    Rows of a batch may have seen different numbers of tokens. They stand flush right, the newest token of
    every row in the last column, so that a band is the last W columns; the columns before a short row are
    masked. Room is reserved ahead, and grows by half when it is full, so that few tokens copy those before.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.empty = True
        self._lengths = list(lengths)  # no tensor: to read one of a GPU, each token would wait for it
        self._used = 0
        self._k = self._v = self._visible = torch.empty(0)

    @property
    def positions(self) -> Tensor | None:
        """The position of each row's next token (rows, 1) int64; None when empty.

        It is the number of tokens so far, those that left the band included.
        """
        return None if self.empty else torch.tensor(self._lengths, device=self._k.device)[:, None]

    def fill(self, k: Tensor, v: Tensor, band: int | None) -> None:
        """Begin with (batch, heads, time, d_head) of prompts that stand flush left, `lengths` tokens each."""
        time = k.size(2)
        # Column c of a row of n tokens comes from c - (time - n); the columns before its first are masked.
        lengths = torch.tensor(self._lengths, device=k.device)
        columns = torch.arange(time, device=k.device) - (time - lengths[:, None])
        source = columns.clamp(min=0)[:, None, :, None].expand_as(k)
        self._k, self._v, self._used = k.gather(2, source), v.gather(2, source), time
        self._make_room(band)
        self.empty = False

    def append(self, k: Tensor, v: Tensor, band: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add one token's (batch, heads, 1, d_head); return all keys and values that it may see, and a mask.

        The mask (batch, 1, 1, time) is None when every row fills its columns.
        """
        if self._used == self._k.size(2):
            self._make_room(band)
        self._k[:, :, self._used] = k[:, :, 0]
        self._v[:, :, self._used] = v[:, :, 0]
        self._used += 1
        self._lengths = [length + 1 for length in self._lengths]
        shown = slice(_first(self._used, band), self._used)
        whole = min(self._lengths) >= shown.stop - shown.start
        return self._k[:, :, shown], self._v[:, :, shown], None if whole else self._visible[..., shown]

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may come several times."""
        device = self._k.device
        if len(rows) != len(self._lengths):
            kept = torch.tensor(rows, dtype=torch.int64, device=device)  # of none, too
            self._k, self._v, self._visible = self._k[kept], self._v[kept], self._visible[kept]
        elif moved := [place for place, row in enumerate(rows) if place != row]:
            places = torch.tensor(moved, device=device)
            sources = torch.tensor([rows[place] for place in moved], device=device)
            for held in (self._k[:, :, : self._used], self._v[:, :, : self._used], self._visible):
                held.index_copy_(0, places, held.index_select(0, sources))
        self._lengths = [self._lengths[row] for row in rows]

    def _make_room(self, band: int | None) -> None:
        """Move what a next token may see to the start of a larger room."""
        shown = slice(_first(self._used, band), self._used)
        self._used = shown.stop - shown.start
        free = max(LEAST_ROOM, self._used // 2)
        self._k, self._v = (F.pad(held[:, :, shown], (0, 0, 0, free)) for held in (self._k, self._v))
        lengths = torch.tensor(self._lengths, device=self._k.device)
        columns = torch.arange(self._used + free, device=self._k.device)
        self._visible = (columns >= self._used - lengths[:, None])[:, None, None]


def _first(columns: int, band: int | None) -> int:
    """The first of so many columns that the newest token may see."""
    return 0 if band is None else max(0, columns - band)
