"""Word 5-grams and their MinHash signatures: pure functions of a text.

A word is a run of letters, marks and digits, in lower case by character; whatever else stands between words
counts for nothing. In scripts that are written without spaces every such character is a word. A text of fewer
than five words has no shingles: only its exact copies are found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

VERSION = 3
"""Stands beside every signature; a change of words, hashes or permutations raises it."""

GRAM = 5
PERMUTATIONS = 140
"""20 bands of 7 rows."""

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007"  # ideographic iteration mark, closing mark and zero
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
"""Scripts without spaces between words, as ranges in a regular expression."""

SEGMENT = 1 << 18
"""Characters that are hashed at once; a longer word is cut."""

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


def shingles(text: str) -> U64:
    """(n,) sorted distinct hashes of the word 5-grams; empty for fewer than five words.

    >>> len(shingles("to be, or not to be")), len(shingles("TO BE or not")), len(shingles("東京都は日本"))
    (2, 0, 2)
    """
    words = _words(text)
    if len(words) < GRAM:
        return np.empty(0, np.uint64)
    number = len(words) - GRAM + 1
    grams = words[:number].copy()
    for place in range(1, GRAM):  # a polynomial in an odd base, so that order matters, wrapping modulo 2^64
        grams *= _WORD_BASE
        grams += words[place : place + number]
    grams = _mixed(grams)
    grams.sort()
    new = np.ones(number, bool)
    np.not_equal(grams[1:], grams[:-1], out=new[1:])
    return grams[new]


def signature(shingles: U64) -> U32:
    """(140,) uint32 MinHash signature; all ones for no shingles.

    Place k of it is the smallest shingle in the k-th of 140 equal ranges of hashes (one permutation hashing,
    Li, Owen and Zhang 2012), and where a range is empty, the minimum over all shingles of a k-th linear
    permutation (Bohman, Cooper and Frieze 2000). Two sets agree at a place with probability J: if their union
    has a shingle in the range, its smallest decides, and if not, both take the permutation. So it costs one
    search in a long text, and in a short one multiplications of few shingles.
    """
    if not len(shingles):
        return np.full(PERMUTATIONS, np.iinfo(np.uint32).max, np.uint32)
    values = shingles.astype(np.uint32)
    bounds = np.searchsorted(shingles, _RANGES)
    result: U32 = values[np.minimum(bounds, len(shingles) - 1)]
    empty = np.diff(bounds, append=len(shingles)) == 0
    result[empty] = np.multiply.outer(_FACTORS[empty], values).min(axis=1)
    return result


def jaccards(one: U64, others: Sequence[U64]) -> npt.NDArray[np.float64]:
    """(n,) exact Jaccard similarities of a sorted set of shingles to n others; two empty sets are at 0."""
    lengths = np.array([len(other) for other in others])
    flat = np.concatenate([*others, one[:0]])
    if not len(one) or not len(flat):
        return np.zeros(len(others))
    place = np.minimum(np.searchsorted(one, flat), len(one) - 1)
    hits = np.concatenate([[0], np.cumsum(one[place] == flat)])
    ends = np.cumsum(lengths)
    common = hits[ends] - hits[ends - lengths]
    similarity: npt.NDArray[np.float64] = common / (len(one) + lengths - common)
    return similarity


def bucket(signatures: U32, band: int, rows: int) -> U64:
    """(n,) hashes of one band of n signatures of shape (n, 140)."""
    result = np.zeros(len(signatures), np.uint64)
    for row in range(band * rows, (band + 1) * rows):
        result *= _BASE
        result += signatures[:, row]
    return _mixed(result)


def _words(text: str) -> U64:
    """(n,) hashes of the words of a text, in order."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    if len(characters) <= SEGMENT:
        return _hashes(_alphabet().take(characters))
    found, start = [], 0
    while start < len(characters):
        letters = _alphabet().take(characters[start : start + SEGMENT])
        if start + SEGMENT < len(characters):  # ends where a word ends, if it can
            ends = np.flatnonzero((letters == 0) | (letters >= _ALONE))
            letters = letters[: ends[-1] + 1 if len(ends) else SEGMENT]
        found.append(_hashes(letters))
        start += len(letters)
    return np.concatenate(found)


def _hashes(letters: U64) -> U64:
    """The hash of each word: a polynomial over its letters, wherever the word stands."""
    inside = letters != 0
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    if letters.max(initial=0) >= _ALONE:
        alone = letters >= _ALONE
        begins |= alone
        begins[1:] |= inside[1:] & alone[:-1]
    starts = begins.nonzero()[0]
    if not len(starts):
        return np.empty(0, np.uint64)
    sums: U64 = np.add.reduceat(letters * _POWERS[: len(letters)], starts)
    sums *= _INVERSE_POWERS.take(starts)
    return sums


@cache
def _alphabet() -> U64:
    """For every code point its number in lower case, 0 for what is in no word, over `_ALONE` for a word."""
    letters = np.zeros(0x110000, np.uint64)
    for point in range(0x20000):
        if unicodedata.category(chr(point))[0] in "LMN":
            letters[point] = ord(chr(point).lower()[0])
    letters[0x20000:0x40000] = np.arange(0x20000, 0x40000)
    for first, last in re.findall("(.)-(.)", UNSPACED):
        script = letters[ord(first) : ord(last) + 1]
        script[script > 0] += _ALONE
    return letters


def _mixed(values: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_BASE = np.uint64(0x9E3779B97F4A7C15)
_WORD_BASE = np.uint64(0xD1342543DE82EF95)
_ALONE = np.uint64(1 << 32)
_POWERS = np.full(SEGMENT, _BASE).cumprod()
_INVERSE_POWERS = np.full(SEGMENT, np.uint64(pow(int(_BASE), -1, 1 << 64))).cumprod()
_FACTORS = (_mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | 1
_RANGES = np.array([-(-(place << 64) // PERMUTATIONS) for place in range(PERMUTATIONS)], np.uint64)
