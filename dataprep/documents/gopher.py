"""What Gopher's rules measure (Rae et al. 2021, appendix A.1.1 and table A1), as shares of one text.

The paper leaves some words open; datatrove's reading is followed, so that verdicts can be compared. A word is
what white space separates. Shares of characters are of all characters of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
TOP = (2, 3, 4)
"""Lengths of the n-grams of which the most frequent one is measured."""
DUPLICATE = (5, 6, 7, 8, 9, 10)
"""Lengths of the n-grams whose repeats are measured."""

COLUMNS = [
    ("gopher_duplicate_paragraphs", pa.float64()),
    ("gopher_duplicate_paragraph_characters", pa.float64()),
    ("gopher_duplicate_lines", pa.float64()),
    ("gopher_duplicate_line_characters", pa.float64()),
    *((f"gopher_top_{n}_gram", pa.float64()) for n in TOP),
    *((f"gopher_duplicate_{n}_grams", pa.float64()) for n in DUPLICATE),
    ("gopher_words", pa.int64()),
    ("gopher_word_length", pa.float64()),
    ("gopher_hashes", pa.float64()),
    ("gopher_ellipses", pa.float64()),
    ("gopher_bullet_lines", pa.float64()),
    ("gopher_ellipsis_lines", pa.float64()),
    ("gopher_alphabetic", pa.float64()),
    ("gopher_stop_words", pa.int64()),
]

_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")
_CONTENT = re.compile(r"[^\W_]")

Codes = npt.NDArray[np.int64]


def measure(text: str, words: list[str]) -> dict[str, float]:
    """The columns of COLUMNS; `words` is `text.split()`. All are 0 for an empty text."""
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64)
    lengths = np.fromiter(map(len, numbers), np.int64, len(numbers))[codes]
    return {
        **repeated_parts("paragraph", _PARAGRAPHS.split(text.strip()), len(text)),
        **repeated_parts("line", _LINES.split(text), len(text)),
        **repeated_grams(codes, lengths, len(text)),
        **quality(text, list(numbers), codes, lengths),
    }


def repeated_parts(name: str, parts: Sequence[str], characters: int) -> dict[str, float]:
    """Shares of the parts, and of the text's characters in them, that repeat an earlier part."""
    distinct = set(parts)
    repeated = sum(map(len, parts)) - sum(map(len, distinct))
    return {
        f"gopher_duplicate_{name}s": 1 - len(distinct) / len(parts),
        f"gopher_duplicate_{name}_characters": repeated / max(characters, 1),
    }


def repeated_grams(codes: Codes, lengths: Codes, characters: int) -> dict[str, float]:
    """Shares of the characters in the most frequent n-gram (TOP) and in repeats of n-grams (DUPLICATE).

    codes: (words,) number of each word, below the count of words. lengths: (words,) its characters.

    An n-gram can be repeated only where both (n-1)-grams in it are, so each length looks only at what the one
    before left; most texts leave nothing after a few.
    """
    found = {f"gopher_top_{n}_gram": 0.0 for n in TOP} | {
        f"gopher_duplicate_{n}_grams": 0.0 for n in DUPLICATE
    }
    ends = np.concatenate([[0], np.cumsum(lengths)])
    counts = np.bincount(codes)
    grams = np.where(counts[codes] > 1, codes, -1) if len(codes) else codes
    """(words,) number of the repeated n-gram that begins there, or -1."""
    for n in range(2, DUPLICATE[-1] + 1):
        starts = len(codes) - n + 1
        if starts <= 0:
            break
        places = np.flatnonzero((grams[:starts] >= 0) & (grams[1 : starts + 1] >= 0))
        _, kinds, counts = np.unique(
            grams[places] * len(codes) + codes[places + n - 1], return_inverse=True, return_counts=True
        )
        repeated = counts[kinds] > 1
        places, kinds = places[repeated], kinds[repeated]
        grams = np.full(len(codes), -1)
        grams[places] = kinds
        if n in TOP:
            often = int(np.argmax(counts[kinds])) if len(places) else 0
            place, times = (places[often], counts[kinds[often]]) if len(places) else (0, 1)
            length = ends[place + n] - ends[place] + n - 1  # with the spaces between its words
            found[f"gopher_top_{n}_gram"] = float(length * times / characters)
        elif n in DUPLICATE:
            found[f"gopher_duplicate_{n}_grams"] = _repeated(places, kinds, n, ends) / characters
    return found


def _repeated(places: Codes, kinds: Codes, n: int, ends: Codes) -> int:
    """Characters of the n-grams that repeat an earlier one, none counted twice: a repeat is stepped over."""
    seen: set[int] = set()
    total = free = 0
    for place, kind in zip(places.tolist(), kinds.tolist(), strict=True):
        if place < free:
            continue
        if kind in seen:
            total += int(ends[place + n] - ends[place])
            free = place + n
        else:
            seen.add(kind)
    return total


def quality(text: str, vocabulary: list[str], codes: Codes, lengths: Codes) -> dict[str, float]:
    """Counts of words, symbols, bullets and stop words.

    vocabulary: the distinct words, by their number in `codes`. `gopher_words` and `gopher_word_length` are of
    words with a letter or digit; the other shares are of all words or lines.
    """
    content = np.fromiter((_CONTENT.search(word) is not None for word in vocabulary), bool, len(vocabulary))
    letters = np.fromiter((_has_letter(word) for word in vocabulary), bool, len(vocabulary))
    words = max(len(codes), 1)
    lines = text.splitlines()
    with_content = lengths[content[codes]]
    return {
        "gopher_words": len(with_content),
        "gopher_word_length": float(with_content.mean()) if len(with_content) else 0.0,
        "gopher_hashes": text.count("#") / words,
        "gopher_ellipses": (text.count("...") + text.count("…")) / words,
        "gopher_bullet_lines": sum(line.lstrip()[:1] in ("•", "-") for line in lines) / max(len(lines), 1),
        "gopher_ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines)
        / max(len(lines), 1),
        "gopher_alphabetic": float(np.count_nonzero(letters[codes])) / words,
        "gopher_stop_words": len(STOP_WORDS.intersection(vocabulary)),
    }


def _has_letter(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))
