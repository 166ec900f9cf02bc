"""Requests to a model, which know nothing of tasks; and its answers, stored by the key of the request."""

from __future__ import annotations

from typing import Literal

import msgspec
import xxhash


class Writing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a text is written.

    max_tokens: largest number of tokens. stops: the text ends before the first of these strings. beams: with
    1 each token is the likeliest, with more a beam search finds the text (GPT-3: 4, with length_penalty 0.6).
    top_k: each token is drawn from the k likeliest instead, with the seed.
    """

    max_tokens: int
    stops: tuple[str, ...] = ()
    beams: int = 1
    length_penalty: float = 0.6
    top_k: int | None = None
    seed: int = 0


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to a model, in tokens. The context is never empty.

    score: the log-probability of `continuation` after `context`. write: a text after `context`. likeliest:
    the `likeliest` likeliest next tokens.
    """

    kind: Literal["score", "write", "likeliest"]
    context: tuple[int, ...]
    continuation: tuple[int, ...] = ()
    writing: Writing | None = None
    likeliest: int = 0

    @property
    def key(self) -> str:
        """xxh3_128 of all fields. Equal requests have one key, and are answered once."""
        return xxhash.xxh3_128_hexdigest(msgspec.msgpack.encode(self))


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model's answer to the request of this key.

    log_likelihood: in nats. is_greedy: whether each scored token was the likeliest. text: the written text,
    cut before its stop. likeliest: tokens with their log-probabilities, the likeliest first.
    """

    key: str
    log_likelihood: float = 0.0
    is_greedy: bool = False
    text: str = ""
    likeliest: tuple[tuple[int, float], ...] = ()
