"""From texts to the tokens that a model is asked about. Pure; the rules are lm-eval's where it has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

Tokens = list[int]
Encode = Callable[[str], Tokens]
SHOWN = 200
"""Characters of a text that an error shows."""


class Unaskable(ValueError):
    """A text that the model cannot be asked about; the message names it."""


def pair(encode: Encode, context: str, continuation: str) -> tuple[Tokens, Tokens, bool]:
    """Tokens of a context and of its continuation, and whether a token would reach over the border.

    White space at the end of the context belongs to the continuation. Both are encoded together and split
    after the context's tokens, as in lm-eval 0.4. Where a token would reach over that border, lm-eval splits
    by length, and scores other text than was meant; here each of the two is encoded by itself.
    """
    kept = context.rstrip()
    continuation, context = context[len(kept) :] + continuation, kept
    before = encode(context) if context else []
    whole = encode(context + continuation)
    if whole[: len(before)] == before:
        return before, whole[len(before) :], False
    return before, encode(continuation), True


def fitted(context: Tokens, room: int) -> tuple[Tokens, bool]:
    """The last `room` tokens of a context, and whether it has lost its beginning.

    >>> fitted([1, 2, 3], 2), fitted([1, 2, 3], 3)
    (([2, 3], True), ([1, 2, 3], False))
    """
    return (context, False) if len(context) <= room else (context[len(context) - room :], True)


def windows(tokens: Sequence[int], first: int, n_ctx: int, stride: int) -> Iterator[tuple[Tokens, Tokens]]:
    """Contexts and continuations that predict each token of a text once.

    The first window begins with the token `first` and predicts up to n_ctx tokens; each later one predicts
    `stride` more, and sees as much before them as fits, the last one too (lm-eval,
    `get_rolling_token_windows` and `make_disjoint_window`, with a context of n_ctx - stride + 1).

    >>> list(windows([1, 2, 3, 4, 5], first=0, n_ctx=3, stride=3))
    [([0], [1, 2, 3]), ([2, 3], [4, 5])]
    """
    text, end = [first, *tokens], min(n_ctx, len(tokens)) + 1
    if tokens:
        yield text[:1], text[1:end]
    while end < len(text):
        begin, end = end, min(end + stride, len(text))
        yield text[max(end - 1 - n_ctx, 0) : begin], text[begin:end]


def shown(text: str) -> str:
    """A text as an error message shows it: long ones without their beginning, which many texts share.

    >>> shown("to be")
    "'to be'"
    """
    return repr(text if len(text) <= SHOWN else "..." + text[-SHOWN:])
