"""The language model as a task sees it: it scores texts, writes texts, and names likely next tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.eval.requests import Writing


@dataclass(frozen=True)
class Score:
    """How likely a text is. log_likelihood: the sum over its tokens, in nats. is_greedy: whether each of its
    tokens was the likeliest. tokens: how many there are."""

    log_likelihood: float
    is_greedy: bool
    tokens: int


class LanguageModel(Protocol):
    """The interface that engines use. One implementation notes requests, another looks answers up.

    While requests are noted, a score is 0.0 and not greedy, a text is empty, and no token is likely.
    """

    @property
    def n_ctx(self) -> int:
        """The longest context, in tokens."""

    def count(self, text: str) -> int:
        """Tokens of a text."""

    def as_read(self, text: str) -> str:
        """A text as its tokens spell it: those of GPT-1 have no capitals, and no space in front."""

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        """Score a continuation after a context; with `last`, only its last tokens.

        Spaces at the end of the context belong to the continuation, and both are tokenised together, as
        lm-eval does. An empty context is the end-of-text token. A context that is too long loses its
        beginning; the results count that, unless the caller did not want it `whole`.
        """

    def roll(self, text: str, *, stride: int | None = None) -> Score:
        """Score a whole text after end-of-text, in windows of n_ctx that advance by `stride` (default
        n_ctx)."""

    def write(self, context: str, writing: Writing) -> str:
        """The text that the model writes after a context."""

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        """The n likeliest next tokens as text, with their log-probabilities, the likeliest first."""
