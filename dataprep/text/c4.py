"""What C4's rules measure (Raffel et al. 2020, section 2.2, and its published code).

C4 drops lines, then judges what is left of the page. Here the text stays as it is: measured is what C4 would
have left. A line survives that has at least three words, none longer than 1,000 characters, ends in terminal
punctuation (but not in an ellipsis), and mentions neither javascript nor a policy (cookies, terms of use).
Every count is made twice: `c4_any_end_...` leaves out the rule of terminal punctuation, as FineWeb does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

WORDS = 3
WORD_CHARACTERS = 1000
ENDS = (".", "?", "!", '"', "'")
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)

COLUMNS = [
    (f"{prefix}_{name}", kind)
    for prefix in ("c4", "c4_any_end")
    for name, kind in (
        ("lorem_ipsum", pa.int64()),
        ("curly_brackets", pa.int64()),
        ("sentences", pa.int64()),
        ("lines", pa.float64()),
    )
]
"""Surviving lines with lorem ipsum, with a curly bracket; sentences in the others, their share of lines."""

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_TERMINAL = ".!?…。！？"
_CLOSING = """"'”’»)]」』"""
_SENTENCE_END = re.compile(rf"[{_TERMINAL}]+[{re.escape(_CLOSING)}]*(?=\s|$|[^\0-\u2fff])")
"""What follows must be a space, the end, or a character of a script that is written without spaces."""
_ENDS = tuple(_TERMINAL)
_WATCHED = ("lorem ipsum", "javascript", *POLICIES)


def measure(text: str) -> dict[str, float]:
    """The columns of COLUMNS."""
    lines = text.splitlines()
    plain = (_CITATION.sub("", text) if "[" in text else text).lower()
    watched = any(phrase in plain for phrase in _WATCHED)
    strict, any_end = _Left(), _Left()
    for line in lines:
        line = line.strip()
        words = line.split(None, WORDS)
        if len(words) < WORDS:
            continue
        if len(line) > WORD_CHARACTERS and max(map(len, line.split())) > WORD_CHARACTERS:
            continue
        if "[" in line:
            line = _CITATION.sub("", line)
        sides = [any_end, strict] if line.endswith(ENDS) and not line.endswith("...") else [any_end]
        lower = line.lower() if watched else ""
        if "lorem ipsum" in lower:
            for side in sides:
                side.lorem_ipsum += 1
        elif "javascript" in lower:
            continue
        elif "{" in line:
            for side in sides:
                side.curly_brackets += 1
        elif not any(policy in lower for policy in POLICIES if lower):
            count = sentences(line)
            for side in sides:
                side.sentences += count
                side.lines += 1
    return {**strict.columns("c4", len(lines)), **any_end.columns("c4_any_end", len(lines))}


def sentences(line: str) -> int:
    """How many sentences a line holds: what ends in terminal punctuation, and the rest if there is one.

    >>> sentences('He said "Go." Then 3.5 km'), sentences("はい。いいえ。"), sentences("")
    (2, 2, 0)
    """
    line = line.rstrip()
    return len(_SENTENCE_END.findall(line)) + (not line.rstrip(_CLOSING).endswith(_ENDS) and line != "")


@dataclass
class _Left:
    """What C4 would have left of a page."""

    lorem_ipsum: int = 0
    curly_brackets: int = 0
    sentences: int = 0
    lines: int = 0

    def columns(self, prefix: str, lines: int) -> dict[str, float]:
        return {
            f"{prefix}_lorem_ipsum": self.lorem_ipsum,
            f"{prefix}_curly_brackets": self.curly_brackets,
            f"{prefix}_sentences": self.sentences,
            f"{prefix}_lines": self.lines / max(lines, 1),
        }
