"""Prompts that leave room in the context for what is written after them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from pipeline.inference.sentences import sentences


class Reader(Protocol):
    """What fitting needs of a model."""

    @property
    def n_ctx(self) -> int:
        """The longest context, in tokens."""

    def count(self, text: str) -> int:
        """Tokens of a text."""


def fit(
    model: Reader,
    shown: Sequence[str],
    question: str,
    room: int,
    *,
    instruction: str = "",
    delimiter: str = "\n\n",
) -> tuple[str, int]:
    """A context of an instruction, solved examples and a question that leaves `room` tokens free.

    Whole examples are left out from the front until it fits. Returns the context and how many stayed.
    """

    def context(first: int) -> str:
        return delimiter.join([*([instruction] if instruction else []), *shown[first:], question])

    def fits(first: int) -> bool:
        return model.count(context(first)) + room <= model.n_ctx

    first = 0 if fits(0) else bisect_left(range(len(shown)), True, key=fits)
    return context(first), len(shown) - first


def fit_article(model: Reader, article: str, hint: str, room: int) -> str:
    """An article, a hint, and `room` tokens left free: the last sentences are left out until it fits."""
    own = sentences(article)

    def too_long(text: str) -> bool:
        return model.count(text + hint) + room > model.n_ctx

    if not too_long(article):
        return article + hint
    fitting = bisect_left(range(1, len(own)), True, key=lambda n: too_long(" ".join(own[:n])))
    return " ".join(own[: max(fitting, 1)]) + hint
