"""Word 5-grams and their MinHash signatures: pure functions of a text.

A word is a run of letters and digits in lower case; in scripts that are written without spaces every
character is a word. Signatures are affine minima over 64-bit gram hashes (Broder 1997), kept as their upper
32 bits. A text of fewer than five words has no grams: only its exact copies are found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

VERSION = 1
"""Stands beside every signature; a change of words, hashes or permutations raises it."""

GRAM = 5
PERMUTATIONS = 140
"""20 bands of 7 rows."""

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_BLOCK = 2048

U64 = npt.NDArray[np.uint64]


def words(text: str) -> list[str]:
    """The words of a text, in order.

    >>> words("Don't panic: 42!"), words("漢字 ok")
    (['don', 't', 'panic', '42'], ['漢', '字', 'ok'])
    """
    return _WORD.findall(text.lower())


def shingles(words: list[str]) -> U64:
    """(n,) sorted distinct hashes of the word 5-grams; empty for fewer than five words."""
    if len(words) < GRAM:
        return np.empty(0, np.uint64)
    hashes = {word: xxhash.xxh3_64_intdigest(word.encode()) for word in set(words)}
    codes = np.fromiter((hashes[word] for word in words), np.uint64, len(words))
    grams = np.zeros(len(words) - GRAM + 1, np.uint64)
    for place in range(GRAM):  # a polynomial in an odd base, so that order matters, wrapping modulo 2^64
        grams = grams * np.uint64(0x9E3779B97F4A7C15) + codes[place : len(codes) - GRAM + 1 + place]
    return np.unique(_mixed(grams))


def signature(shingles: U64) -> npt.NDArray[np.uint32]:
    """(140,) uint32 MinHash signature; all ones for no shingles."""
    lowest = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(shingles), _BLOCK):
        block = shingles[None, start : start + _BLOCK] * _A[:, None] + _B[:, None]
        np.minimum(lowest, block.min(axis=1), out=lowest)
    return (lowest >> np.uint64(32)).astype(np.uint32)


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


def bucket(signatures: npt.NDArray[np.uint32], band: int, rows: int) -> U64:
    """(n,) hashes of one band of n signatures of shape (n, 140)."""
    result = np.zeros(len(signatures), np.uint64)
    for row in range(band * rows, (band + 1) * rows):
        result = _mixed(result * np.uint64(0x9E3779B97F4A7C15) + signatures[:, row].astype(np.uint64))
    return result


def _mixed(values: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_A = _mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64)) | np.uint64(1)
_B = _mixed(np.arange(PERMUTATIONS + 1, 2 * PERMUTATIONS + 1, dtype=np.uint64))
