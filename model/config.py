"""What a GPT is: every number that shapes it, checked when it is written down."""

from __future__ import annotations

from dataclasses import dataclass

VOCAB_MULTIPLE = 128
"""In memory the vocabulary is padded to a multiple of this, so that the head's matrix suits any device."""


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The architecture of one GPT, from the first token embedding to the logits.

    Raises ValueError, with advice, for numbers that do not fit together.
    """

    n_layer: int
    """Transformer blocks."""
    n_head: int
    """Attention heads a block."""
    d_model: int
    """Width of the residual stream."""
    n_ctx: int
    """Context: the number of learned positions."""
    vocab_size: int
    """Ids of the tokenizer, `<|endoftext|>` included."""
    d_ff: int | None = None
    """Width of the feed-forward layer; 4 * d_model when None."""
    d_head: int | None = None
    """Width of a head; d_model / n_head when None."""
    norm: str = "pre"
    """Layer norm "pre" (GPT-2, GPT-3: before each sublayer, and once at the end) or "post" (GPT-1)."""
    tied: bool = True
    """The head projects with the token embedding's matrix."""
    attention: tuple[str, ...] = ("dense",)
    """Pattern cycled over the blocks: "dense", or "banded:W": a token sees itself and W - 1 before it."""
    dropout: float = 0.0
    """Probability for embeddings, attention weights and residuals alike, as in GPT-1."""
    norm_eps: float = 1e-5
    """Added to the variance by every layer norm."""
    init_std: float = 0.02
    """Standard deviation of every initial matrix."""
    position_init_std: float = 0.01
    """The same for the positions; 0.01 is in GPT-2's released code, not in its paper."""
    residual_scaling: bool = True
    """Divide init_std by sqrt(N) for the N matrices that write to the residual stream (GPT-2, sect. 2.3)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention", tuple(self.attention))  # YAML brings a list
        for name in ("n_layer", "n_head", "d_model", "n_ctx", "vocab_size", "d_ff", "d_head"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
        if self.d_head is None and self.d_model % self.n_head:
            fitting = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            nearest = min(fitting, key=lambda n: abs(n - self.n_head))
            raise ValueError(
                f"d_model {self.d_model} does not divide into {self.n_head} heads: "
                f"use n_head {nearest}, or give d_head"
            )
        if self.norm not in ("pre", "post"):
            raise ValueError(f"norm is {self.norm!r}: use 'pre' (GPT-2, GPT-3) or 'post' (GPT-1)")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: it is a probability, at least 0 and below 1")
        for name in ("norm_eps", "init_std", "position_init_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        if not self.attention:
            raise ValueError("attention is empty: use ['dense'], or a pattern like ['dense', 'banded:256']")
        for kind in self.attention:
            _band(kind)

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.d_head or self.d_model // self.n_head

    @property
    def ff_width(self) -> int:
        """Width of the feed-forward layer."""
        return self.d_ff or 4 * self.d_model

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding in memory: vocab_size rounded up to a multiple of VOCAB_MULTIPLE."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE

    def band(self, layer: int) -> int | None:
        """Width of block `layer`'s attention band in tokens, the token itself included; None when dense."""
        return _band(self.attention[layer % len(self.attention)])


def _band(kind: str) -> int | None:
    """Read one word of an attention pattern.

    >>> _band("dense"), _band("banded:256")
    (None, 256)
    """
    if kind == "dense":
        return None
    name, _, width = kind.partition(":")
    if name != "banded" or not width.isdecimal() or int(width) < 1:
        raise ValueError(f"attention {kind!r} is unknown: use 'dense', or 'banded:W' with a width like 256")
    return int(width)
