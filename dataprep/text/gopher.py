"""What Gopher's rules measure (Rae et al. 2021, appendix A.1.1 and table A1), as shares of one text.

The paper leaves some words open; datatrove's reading is followed, so that verdicts can be compared. A word is
what white space separates. Shares of characters are of all characters of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

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

_NOTHING, _DIGIT, _LETTER = range(3)
"""A word without letter or digit; with a digit only; with a letter."""

Codes = npt.NDArray[np.int64]


def measure(text: str, words: list[str]) -> dict[str, float]:
    """The columns of COLUMNS; `words` is `text.split()`. All are 0 for an empty text."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    codes = np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))
    lengths = np.fromiter(map(len, numbers), np.int64, len(numbers))[codes]
    return {
        **repeated_parts("paragraph", paragraphs(text), len(text)),
        **repeated_parts("line", lines(text), len(text)),
        **repeated_grams(codes, lengths, len(text)),
        **quality(text, numbers, codes, lengths),
    }


def paragraphs(text: str) -> list[str]:
    r"""What two newlines or more separate.

    >>> paragraphs("\n a\nb\n\n\n\nc\n\n\nd ")
    ['a\nb', 'c', 'd']
    """
    parts = (part.lstrip("\n") for part in text.strip().split("\n\n"))
    return [part for part in parts if part] or [""]


def lines(text: str) -> list[str]:
    r"""What one newline or more separate; an empty line only at either end.

    >>> lines("a\n\n\nb\nc\n")
    ['a', 'b', 'c', '']
    """
    parts = [part for part in text.split("\n") if part]
    return [""] * (text[:1] == "\n") + parts + [""] * (text[-1:] == "\n") or [""]


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

    Occurrences of the most frequent one may overlap and still count in full, so that its share can exceed 1.

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
        if not len(places) and n >= DUPLICATE[0]:
            break
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


def quality(text: str, vocabulary: Mapping[str, int], codes: Codes, lengths: Codes) -> dict[str, float]:
    """Counts of words, symbols, bullets and stop words.

    vocabulary: the distinct words and their numbers in `codes`, in the order of these. `gopher_words` and
    `gopher_word_length` are of words with a letter or digit; the other shares are of all words or lines.
    """
    kinds = np.array([_LETTER if word.isalpha() else _kind(word) for word in vocabulary], np.int8)[codes]
    words, lines = max(len(codes), 1), text.splitlines() or [""]
    with_content = lengths[kinds > _NOTHING]
    ellipses = text.count("...") + text.count("…")
    trailing = sum(line.rstrip().endswith(("...", "…")) for line in lines) if ellipses else 0
    return {
        "gopher_words": len(with_content),
        "gopher_word_length": float(with_content.mean()) if len(with_content) else 0.0,
        "gopher_hashes": text.count("#") / words,
        "gopher_ellipses": ellipses / words,
        "gopher_bullet_lines": sum(line.lstrip()[:1] in ("•", "-") for line in lines) / len(lines),
        "gopher_ellipsis_lines": trailing / len(lines),
        "gopher_alphabetic": float(np.count_nonzero(kinds == _LETTER)) / words,
        "gopher_stop_words": sum(word in vocabulary for word in STOP_WORDS),
    }


@lru_cache(maxsize=1 << 16)
def _kind(word: str) -> int:
    if any(map(str.isalpha, word)):
        return _LETTER
    return _DIGIT if any(map(str.isalnum, word)) else _NOTHING
