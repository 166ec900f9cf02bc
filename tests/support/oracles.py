"""Language models whose answers a test knows. All of them note what they are asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import xxhash

from pipeline.eval.language_model import Score
from pipeline.eval.requests import Writing


class Placeholders:
    """Gives the answers of the first run, in which requests are only noted. A token is a character."""

    def __init__(self, n_ctx: int = 64) -> None:
        self.n_ctx = n_ctx
        self.asked: list[tuple[Any, ...]] = []
        """(context, continuation), (text,) of `roll`, (context, writing), (context, n) of `likeliest`."""

    def count(self, text: str) -> int:
        return len(text)

    def as_read(self, text: str) -> str:
        return text

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        self.asked.append((context, continuation))
        return self._score(context, continuation, last or self.count(continuation))

    def roll(self, text: str, *, stride: int | None = None) -> Score:
        self.asked.append((text,))
        return self._score("", text, self.count(text))

    def write(self, context: str, writing: Writing) -> str:
        self.asked.append((context, writing))
        return ""

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        self.asked.append((context, n))
        return []

    def _score(self, context: str, continuation: str, tokens: int) -> Score:
        return Score(0.0, False, tokens)


class Oracle(Placeholders):
    """Scores by a rule: without one, by a hash of what it is asked."""

    def __init__(self, rule: Callable[[str, str], float] | None = None, *, n_ctx: int = 2048) -> None:
        super().__init__(n_ctx)
        self._rule = rule or (
            lambda *asked: -(xxhash.xxh3_64_intdigest("\0".join(asked).encode()) % 1000) / 100 - 0.5
        )

    def write(self, context: str, writing: Writing) -> str:
        super().write(context, writing)
        return ["Bo", "Ann 1", "nobody"][len(self.asked) % 3]

    def _score(self, context: str, continuation: str, tokens: int) -> Score:
        value = self._rule(context, continuation)
        return Score(value, value > -5, tokens)


class Knowing(Oracle):
    """Knows texts by heart: what goes on as in one of them is certain, all else has a probability of exp(-9)
    a character. inverse: the other way round."""

    def __init__(self, texts: Sequence[str], *, inverse: bool = False) -> None:
        def rule(context: str, continuation: str) -> float:
            knows = any(text.startswith(context + continuation) for text in texts) != inverse
            return 0.0 if knows else -9.0 * len(continuation)

        super().__init__(rule, n_ctx=100_000)


class Uniform(Placeholders):
    """Each token of a vocabulary is as likely as the other."""

    def __init__(self, vocabulary: float, n_ctx: int = 64) -> None:
        super().__init__(n_ctx)
        self._vocabulary = vocabulary

    def _score(self, context: str, continuation: str, tokens: int) -> Score:
        return Score(-tokens * math.log(self._vocabulary), False, tokens)


class Writer(Placeholders):
    """Writes what a function makes of the prompt, and refuses to score. A token is a word."""

    def __init__(self, answer: Callable[[str], str] = lambda prompt: "", n_ctx: int = 1_000_000) -> None:
        super().__init__(n_ctx)
        self._answer = answer

    def count(self, text: str) -> int:
        return len(text.split())

    def write(self, context: str, writing: Writing) -> str:
        super().write(context, writing)
        text = self._answer(context)
        return min((text.split(stop)[0] for stop in writing.stops), key=len, default=text)

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        raise AssertionError("a task of written texts needs no likely tokens")

    def _score(self, context: str, continuation: str, tokens: int) -> Score:
        raise AssertionError("a task of written texts scores nothing")
