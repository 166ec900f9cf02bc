"""The language model that engines ask: it turns texts into requests, and a function answers them.

In the first run that function only notes requests (`record.Notes`); in the second it looks answers up
(`record.Record`). All else is the same, so both runs ask the same questions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from dataprep.tokenizer.tokenizer import Tokenizer
from pipeline.eval import encode
from pipeline.eval.encode import Encode, Tokens, Unaskable, shown
from pipeline.eval.language_model import Score
from pipeline.eval.requests import Answer, Request, Writing

Ask = Callable[[Request], Answer]
REMEMBERED = 1024
"""Number of texts whose tokens are kept: the choices of a question share its context."""


@dataclass
class AskedModel:
    """A `LanguageModel` over a tokenizer and a way to get answers.

    boundary_merges: continuations whose first token would have merged with the context. truncated: contexts
    that lost their beginning.
    """

    tokenizer: Tokenizer
    n_ctx: int
    ask: Ask
    boundary_merges: int = field(default=0, init=False)
    truncated: int = field(default=0, init=False)
    _encode: Encode = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._encode = lru_cache(REMEMBERED)(self.tokenizer.encode)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._encode(text))

    def as_read(self, text: str) -> str:
        """A text as its tokens spell it."""
        return self.tokenizer.decode(self._encode(text))

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        """Score a continuation, or its last tokens, after a context.

        Raises Unaskable when the continuation has no token, or more than n_ctx.
        """
        before, after, merged = encode.pair(self._encode, context, continuation)
        if not after:
            raise Unaskable(f"the continuation {shown(continuation)} of {shown(context)} has no token")
        if last is not None:
            before, after = before + after[:-last], after[-last:]
        if len(after) > self.n_ctx:
            raise Unaskable(
                f"the continuation {shown(continuation)} has {len(after)} tokens, more than the "
                f"{self.n_ctx} of the model's context"
            )
        self.boundary_merges += merged
        room = self.n_ctx + 1 - len(after)  # the last is no input
        return self._score(self._fit(before, room, whole), after)

    def roll(self, text: str, *, stride: int | None = None) -> Score:
        """Score a whole text, in windows."""
        step = self.n_ctx if stride is None else min(stride, self.n_ctx)
        scores = [
            self._score(before, after)
            for before, after in encode.windows(self._encode(text), self.tokenizer.eot, self.n_ctx, step)
        ]
        return Score(
            sum(score.log_likelihood for score in scores),
            all(score.is_greedy for score in scores),
            sum(score.tokens for score in scores),
        )

    def write(self, context: str, writing: Writing) -> str:
        """The text that the model writes after a context.

        The context loses its beginning to leave room for the text, but not more than half of the model's: a
        longer text is written on after its own later half (`model.incremental`).
        """
        room = max(self.n_ctx - writing.max_tokens, self.n_ctx // 2, 1)
        before = self._fit(self._encode(context), room)
        return self.ask(Request(kind="write", context=tuple(before), writing=writing)).text

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        """The n likeliest next tokens as text, with their log-probabilities, the likeliest first."""
        before = self._fit(self._encode(context), self.n_ctx)
        answer = self.ask(Request(kind="likeliest", context=tuple(before), likeliest=n))
        # With the token before it, a word of GPT-1's tokenizer has its space.
        before = before[-1:]
        start = len(self.tokenizer.decode(before))
        return [
            (self.tokenizer.decode([*before, token])[start:], likely) for token, likely in answer.likeliest
        ]

    def _score(self, before: Tokens, after: Tokens) -> Score:
        answer = self.ask(Request(kind="score", context=tuple(before), continuation=tuple(after)))
        return Score(answer.log_likelihood, answer.is_greedy, len(after))

    def _fit(self, context: Tokens, room: int, whole: bool = True) -> Tokens:
        """The context as the model reads it: end-of-text where there is none, and no longer than it fits."""
        kept, shortened = encode.fitted(context or [self.tokenizer.eot], room)
        self.truncated += shortened and whole
        return kept
