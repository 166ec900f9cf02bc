"""A text shown while it is written: no more than what stays, whatever comes next."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.inference.texts import Stops

UNFINISHED = "\ufffd"
"""What bytes decode to that begin a character and do not end it."""


class Streaming:
    """The new tokens of one text, and how much of it has been shown.

    Held back is the last character while its bytes may go on, which takes three more tokens at most, and what
    may begin a stop string.
    """

    def __init__(self, stops: Stops) -> None:
        self._stops = stops
        self._longest = max(map(len, stops.strings), default=0)
        self._tokens: list[int] = []
        self._shown = 0

    def add(self, token: int) -> tuple[str, bool]:
        """Add a token; return what can be shown now, and whether the text has come to a stop string."""
        self._tokens.append(token)
        text = self._text()
        # A pause may have shown the beginning of a stop string.
        start = max(0, self._shown - self._longest)
        if any(text.find(stop, start) >= 0 for stop in self._stops.strings):
            return self.pause(), True
        held = _beginning(text[self._shown :], self._stops.strings)
        return self._show(text[: len(text) - held]), False

    def pause(self) -> str:
        """What was held back, but for an unfinished character: the text ends here, or goes on later."""
        return self._show(self._stops.cut(self._text()))

    def _text(self) -> str:
        return self._stops.tokenizer.decode(self._tokens).removesuffix(UNFINISHED)

    def _show(self, text: str) -> str:
        new, self._shown = text[self._shown :], max(self._shown, len(text))
        return new


def _beginning(text: str, stops: Sequence[str]) -> int:
    """The length of the longest end of a text that begins a stop string.

    >>> _beginning("the en", ("end", "e e"))
    2
    """
    longest = min(len(text), max((len(stop) - 1 for stop in stops), default=0))
    return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in stops)), 0)
