"""What FineWeb's own rules measure (Penedo et al. 2024, section 3.6, and datatrove's code), over lines."""

from __future__ import annotations

import pyarrow as pa

SHORT = 30
"""A line of at most so many characters is short."""

TERMINAL = frozenset(
    "!.?\u0589\u061d\u061e\u061f\u06d4\u0700\u0701\u0702\u07f9\u0964\u0965\u104a\u104b\u1362\u1367\u1368"
    "\u166e\u17d4\u17d5\u1803\u1809\u1944\u1945\u203c\u203d\u2047\u2048\u2049\u2e2e\u2e3c\u3002\ua4ff"
    "\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\uabeb\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
"""Unicode's sentence terminals (PropList.txt, Sentence_Terminal) of scripts in use."""

COLUMNS = [
    ("fineweb_terminal_lines", pa.float64()),
    ("fineweb_short_lines", pa.float64()),
    ("fineweb_duplicate_characters", pa.float64()),
    ("fineweb_newlines", pa.float64()),
]


def measure(text: str, words: list[str]) -> dict[str, float]:
    """The columns of COLUMNS: shares of the lines that are not blank, of characters, newlines a word."""
    lines = [line for line in text.split("\n") if line.strip()]
    count, newlines = max(len(lines), 1), text.count("\n")
    repeated = sum(map(len, lines)) - sum(map(len, set(lines)))
    return {
        "fineweb_terminal_lines": sum(line[-1] in TERMINAL for line in lines) / count,
        "fineweb_short_lines": sum(len(line) <= SHORT for line in lines) / count,
        "fineweb_duplicate_characters": repeated / max(len(text) - newlines, 1),
        "fineweb_newlines": newlines / max(len(words), 1),
    }
