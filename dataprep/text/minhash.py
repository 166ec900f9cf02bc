"""Word 5-grams and their MinHash signatures: pure functions of texts.

A word is a run of letters, marks and digits, in lower case by character; whatever else stands between words
counts for nothing. In scripts that are written without spaces every such character is a word. A text of fewer
than five words has no shingles: only its exact copies are found.

Texts are cut many at a time, in one buffer that fits into a core's cache: numpy then takes about a nanosecond
a value, and short texts do not pay for its calls.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import xxhash

VERSION = 4
"""Stands beside every signature; a change of words, hashes or permutations raises it."""
SHINGLES = 4
"""The VERSION in which words or hashes changed last. Of what was forgotten only shingles are left: the older
ones meet no others, so a corpus that remembers some is refused."""

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

BATCH_BYTES = 1 << 16
"""Text that is cut at once, about: all arrays of it fit into 1 MB. A longer text is cut by itself."""

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


def shingles(text: str) -> U64:
    """(n,) sorted distinct hashes of the word 5-grams; empty for fewer than five words.

    >>> len(shingles("to be, or not to be")), len(shingles("TO BE or not")), len(shingles("東京都は日本"))
    (2, 0, 2)
    """
    return next(shingle_sets([text]))


def shingle_sets(texts: Iterable[str]) -> Iterator[U64]:
    """The shingles of each text, as `shingles` returns them."""
    for batch in _batches(texts):
        hashes, bounds = _cut(batch)
        for start, end in pairwise(bounds.tolist()):
            yield hashes[start:end].copy()  # not a view, which would hold the whole batch


def sketches(texts: Iterable[str]) -> Iterator[tuple[int, U32]]:
    """Of each text how many shingles it has, and their signature, as `signature` returns it."""
    for batch in _batches(texts):
        hashes, bounds = _cut(batch)
        yield from zip(np.diff(bounds).tolist(), _signatures(hashes, bounds), strict=True)


def signature(shingles: U64) -> U32:
    """(140,) uint32 MinHash signature; all ones for no shingles.

    Place k of it is the smallest shingle in the k-th of 140 equal ranges of hashes (one permutation hashing,
    Li, Owen and Zhang 2012), and where a range is empty, the minimum over all shingles of a k-th linear
    permutation (Bohman, Cooper and Frieze 2000). Two sets agree at a place with probability J: if their union
    has a shingle in the range, its smallest decides, and if not, both take the permutation. So it costs one
    search in a long text, and in a short one multiplications of few shingles.
    """
    result: U32 = _signatures(shingles, np.array([0, len(shingles)]))[0]
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


def _batches(texts: Iterable[str]) -> Iterator[list[bytes]]:
    """The letters of texts, about as many together as fit into `BATCH_BYTES`."""
    batch: list[bytes] = []
    room = BATCH_BYTES
    for text in texts:
        letters = text.encode() if text.isascii() else _folded(text)
        if batch and len(letters) > room:
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append(letters)
        room -= len(letters) + 1
    if batch:
        yield batch


def _cut(batch: Sequence[bytes]) -> tuple[U64, npt.NDArray[np.int64]]:
    """(n,) the shingles of some texts, one text after the other, and (texts + 1,) where each one's begin."""
    words, first_words = _words(batch)
    grams = _grams(words)
    number = np.maximum(np.diff(first_words) - GRAM + 1, 0)
    ends = np.minimum(first_words[:-1] + number, len(grams))
    new = np.zeros(len(grams), bool)
    for start, end in zip(first_words.tolist(), ends.tolist(), strict=False):
        mine = grams[start:end]  # and not the grams that reach into the next text
        mine.sort()
        new[start : start + 1] = end > start
        np.not_equal(mine[1:], mine[:-1], out=new[start + 1 : end])
    kept = new.nonzero()[0]
    return grams.take(kept), kept.searchsorted(first_words)


def _words(batch: Sequence[bytes]) -> tuple[U64, npt.NDArray[np.int64]]:
    """(n,) hashes of the words of some texts, in order, and (texts + 1,) where each text's begin.

    A word of up to eight bytes is its own number, one of up to sixteen two of them; a longer one, which is
    rare, is hashed by itself.
    """
    texts = b"\0".join([b"", *batch, bytes(WIDTH)])  # nothing stands before the first or after the last
    letters = texts.translate(_LETTERS)
    inside = np.frombuffer(letters, np.uint8) != 0
    edges = (inside[1:] != inside[:-1]).nonzero()[0]
    starts = edges[::2] + 1
    lengths = edges[1::2] + 1 - starts
    numbers = np.ndarray(len(letters) - WIDTH + 1, f"V{WIDTH}", letters, strides=(1,))  # one from every byte
    words = numbers[starts].view("<u8")
    words &= _MASKS.take(lengths, mode="clip")
    if len(longer := (lengths > WIDTH).nonzero()[0]):
        rest = numbers[starts[longer] + WIDTH].view("<u8")
        rest &= _MASKS.take(lengths[longer] - WIDTH, mode="clip")
        rest += _mixed(words[longer])
        words[longer] = rest
        for word in longer[lengths[longer] > 2 * WIDTH].tolist():
            start = int(starts[word])
            words[word] = xxhash.xxh3_64_intdigest(letters[start : start + int(lengths[word])])
    first_bytes = np.cumsum([1, *(len(text) + 1 for text in batch)])
    return _mixed(words), starts.searchsorted(first_bytes)


def _grams(words: U64) -> U64:
    """(n - 4,) hashes of all runs of five words: a polynomial in an odd base, so that order matters."""
    if len(words) < GRAM:
        return np.empty(0, np.uint64)
    pairs = words[:-1] * _WORD_BASE
    pairs += words[1:]
    fours = pairs[:-2] * _WORD_BASE_SQUARED
    fours += pairs[2:]
    fives = fours[:-1] * _WORD_BASE
    fives += words[4:]
    return _mixed(fives)


def _signatures(hashes: U64, bounds: npt.NDArray[np.int64]) -> U32:
    """(n, 140) the signatures of n sets, each sorted, that begin and end at (n + 1,) `bounds`."""
    number = len(bounds) - 1
    result = np.full((number, PERMUTATIONS), np.iinfo(np.uint32).max, np.uint32)
    if not len(hashes):
        return result
    ranges = hashes >> np.uint64(32)
    ranges *= np.uint64(PERMUTATIONS)
    ranges >>= np.uint64(32)
    places = ranges.view(np.int64)  # the range of each hash; those of the next set go on from there
    places += np.repeat(np.arange(number) * PERMUTATIONS, np.diff(bounds))
    smallest = np.concatenate([[0], (places[1:] != places[:-1]).nonzero()[0] + 1])
    filled = places.take(smallest)
    result.ravel()[filled] = hashes.take(smallest)
    cuts = smallest.searchsorted(bounds)
    for text in (np.diff(cuts) % PERMUTATIONS).nonzero()[0].tolist():  # neither all nor none
        empty = np.ones(PERMUTATIONS, bool)
        empty[filled[cuts[text] : cuts[text + 1]] % PERMUTATIONS] = False
        mine = hashes[bounds[text] : bounds[text + 1]].astype(np.uint32)
        result[text, empty] = np.multiply.outer(_FACTORS[empty], mine).min(axis=1)
    return result


def _folded(text: str) -> bytes:
    """A text in UTF-8, its letters in lower case and apart where each is a word, and NUL for all others."""
    letters = _alphabet().take(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4"))
    if len(alone := (letters >= _ALONE).nonzero()[0]):
        letters &= _ALONE - np.uint32(1)
        letters = np.insert(letters, np.concatenate([alone, alone + 1]), 0)
    return letters.tobytes().decode("utf-32-le").encode()


@cache
def _alphabet() -> U32:
    """For every code point its number in lower case, 0 for what is in no word, over `_ALONE` for a word."""
    letters = np.zeros(0x110000, "<u4")
    category = unicodedata.category
    letters[:0x20000] = [
        ord(character.lower()[0]) if category(character)[0] in "LMN" else 0
        for character in map(chr, range(0x20000))
    ]
    letters[0x20000:0x40000] = np.arange(0x20000, 0x40000)
    for first, last in re.findall("(.)-(.)", UNSPACED):
        script = letters[ord(first) : ord(last) + 1]
        script[script > 0] += _ALONE
    return letters


def _mixed(values: U64) -> U64:
    """SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    result = values >> np.uint64(30)
    result ^= values
    result *= np.uint64(0xBF58476D1CE4E5B9)
    shifted = result >> np.uint64(27)
    result ^= shifted
    result *= np.uint64(0x94D049BB133111EB)
    np.right_shift(result, np.uint64(31), out=shifted)
    result ^= shifted
    return result


WIDTH = 8
"""Bytes of a number."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_WORD_BASE = np.uint64(0xD1342543DE82EF95)
_WORD_BASE_SQUARED = np.uint64(pow(0xD1342543DE82EF95, 2, 1 << 64))
_ALONE = np.uint32(1 << 31)
_MASKS = np.array([(1 << 8 * length) - 1 for length in range(WIDTH + 1)], np.uint64)
_LETTERS = bytes(
    byte if byte > 127 else ord(chr(byte).lower()) if chr(byte).isalnum() else 0 for byte in range(256)
)
"""For every byte of UTF-8 what it is in lower case, or NUL; those of longer characters are folded before."""
_FACTORS = (_mixed(np.arange(1, PERMUTATIONS + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | 1
