"""Word 5-grams and their MinHash signatures: pure functions of a text.

A word is a run of letters, marks and digits, in lower case by character; whatever else stands between words
counts for nothing. In scripts that are written without spaces every such character is a word. A text of fewer
than five words has no shingles: only its exact copies are found. Signatures are minima of the shingles'
multiples by odd numbers, modulo 2^32 (Bohman, Cooper and Frieze 2000 on linear permutations; no shift is
added, for the shingles are mixed already).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

VERSION = 2
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
_BLOCK = 512
"""Shingles that are multiplied at once, so that the products stay in the cache."""

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
        grams *= _BASE
        grams += words[place : place + number]
    grams = _mixed(grams)
    grams.sort()
    new = np.ones(number, bool)
    np.not_equal(grams[1:], grams[:-1], out=new[1:])
    return grams[new]


def signature(shingles: U64) -> U32:
    """(140,) uint32 MinHash signature; all ones for no shingles."""
    lowest = np.full(PERMUTATIONS, np.iinfo(np.uint32).max, np.uint32)
    values = (shingles >> np.uint64(32)).astype(np.uint32)
    for start in range(0, len(values), _BLOCK):
        products = np.multiply.outer(_FACTORS, values[start : start + _BLOCK])
        np.minimum(lowest, products.min(axis=1), out=lowest)
    return lowest


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
        result = _mixed(result * _BASE + signatures[:, row].astype(np.uint64))
    return result


def _words(text: str) -> U64:
    """(n,) hashes of the words of a text, in order."""
    letters, unspaced = _alphabet()
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    found, start = [np.empty(0, np.uint64)], 0
    while start < len(characters):
        segment = characters[start : start + SEGMENT]
        if start + SEGMENT < len(characters):  # ends where a word ends, if it can
            between = np.flatnonzero((letters.take(segment) == 0) | unspaced.take(segment))
            segment = segment[: between[-1] + 1 if len(between) else SEGMENT]
        found.append(_hashes(letters.take(segment), unspaced.take(segment)))
        start += len(segment)
    return found[1] if len(found) == 2 else np.concatenate(found)


def _hashes(letters: U64, unspaced: npt.NDArray[np.bool_]) -> U64:
    """The hash of each word: a polynomial over its letters, wherever the word stands."""
    inside = letters != 0
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | unspaced[1:] | unspaced[:-1]
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.empty(0, np.uint64)
    sums = np.add.reduceat(letters * _POWERS[: len(letters)], starts)
    return _mixed(sums * _INVERSE_POWERS[starts])


@cache
def _alphabet() -> tuple[U64, npt.NDArray[np.bool_]]:
    """For every code point, its number in lower case, 0 for what is in no word; and whether it is a word."""
    letters, unspaced = np.zeros(0x110000, np.uint64), np.zeros(0x110000, bool)
    for point in range(0x20000):
        if unicodedata.category(chr(point))[0] in "LMN":
            letters[point] = ord(chr(point).lower()[0])
    for first, last in re.findall("(.)-(.)", UNSPACED):
        unspaced[ord(first) : ord(last) + 1] = True
    letters[0x20000:0x40000] = np.arange(0x20000, 0x40000)
    return letters, unspaced & (letters != 0)


def _mixed(values: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_BASE = np.uint64(0x9E3779B97F4A7C15)
_POWERS = np.full(SEGMENT, _BASE).cumprod()
_INVERSE_POWERS = np.full(SEGMENT, np.uint64(pow(int(_BASE), -1, 1 << 64))).cumprod()
_FACTORS = (_mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | 1
