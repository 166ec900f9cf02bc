"""Language models that a test knows by heart. A token is a character."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pipeline.eval.language_model import Score
from pipeline.eval.requests import Writing


class Placeholders:
    """A model that only notes what it is asked, and answers nothing."""

    n_ctx = 64

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        """Contexts and continuations; a text or likely tokens that are asked for have "" there."""

    def count(self, text: str) -> int:
        return len(text)

    def as_read(self, text: str) -> str:
        return text

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        self.asked.append((context, continuation))
        return Score(0.0, False, last or len(continuation))

    def roll(self, text: str, *, stride: int | None = None) -> Score:
        return self.score("", text)

    def write(self, context: str, writing: Writing) -> str:
        self.asked.append((context, ""))
        return ""

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        self.asked.append((context, ""))
        return []


class Uniform(Placeholders):
    """Each of so many tokens is as likely as the other; the first is the likeliest."""

    def __init__(self, vocabulary: int, n_ctx: int = 64) -> None:
        super().__init__()
        self.vocabulary, self.n_ctx = vocabulary, n_ctx

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        tokens = super().score(context, continuation, last=last).tokens
        return Score(-tokens * math.log(self.vocabulary), False, tokens)


class Bigrams(Placeholders):
    """The probability of a character depends on the one before it; "" is before a text."""

    def __init__(self, n_ctx: int) -> None:
        super().__init__()
        self.n_ctx = n_ctx

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        super().score(context, continuation, last=last)
        before = context[-1:]
        total = 0.0
        for after in continuation:
            total -= 1 + (7 * ord(before or "\0") + 3 * ord(after)) % 11
            before = after
        return Score(total, False, len(continuation))


@dataclass
class Knowing(Placeholders):
    """Knows texts by heart: what goes on as in one of them is certain, all else has a probability of exp(-9)
    a token. inverse: the other way round."""

    texts: list[str]
    inverse: bool = False
    n_ctx: int = 100_000
    asked: list[tuple[str, str]] = field(default_factory=list)

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        tokens = super().score(context, continuation, last=last).tokens
        knows = any(text.startswith(context + continuation) for text in self.texts) != self.inverse
        return Score(0.0 if knows else -9.0 * tokens, knows, tokens)
