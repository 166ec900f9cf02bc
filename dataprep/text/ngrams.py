"""Word n-grams as GPT-3's appendix C has them, and where those of one collection occur in other texts.

A word is whitespace-delimited, in lower case and without punctuation (Brown et al. 2020, appendix C); in
scripts that are written without spaces every character is a word. Words and the hashes of their n-grams are
computed for many texts at once: a hash is a difference of prefix sums of value times power of an odd base,
modulo 2^64, so it takes a few array operations a character and none a word of Python. A hash only proposes:
every hit is compared letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.text.minhash import UNSPACED

VERSION = f"1 (Unicode {unicodedata.unidata_version})"
"""Stands beside all that these words decided."""

SLICE = 1 << 16
"""Characters that are worked on at once, so that the arrays stay in the processor's cache."""

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_DELETED, _SPACE = 0, 1
_CODES = 0x33480
"""From here on Unicode has no letters, only tags, variation selectors and private use."""
_WHITESPACE = re.compile(r"\s")
_LETTER_BASE, _WORD_BASE = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03
_COMPARED = 1 << 13


@dataclass(frozen=True)
class Words:
    """The words of some texts, one after the other.

    letters: (l,) uint32, the words' code points in lower case, without anything between them.
    bounds: (m + 1,) int64, word w is letters[bounds[w] : bounds[w + 1]]. hashes: (m,) uint64.
    texts: (m,) int64, the number of each word's text. starts, ends: (m,) int64, its characters there.
    """

    letters: U32
    bounds: Places
    hashes: U64
    texts: Places
    starts: Places
    ends: Places

    def grams(self, n: int) -> tuple[Places, U64]:
        """The first words of all runs of n words that lie in one text, and the runs' hashes."""
        runs = max(len(self.hashes) - n + 1, 0)
        first = np.arange(runs)
        hashes = _hashes(self.hashes, first, first + n, _WORD_BASE)
        inside = np.flatnonzero(self.texts[:runs] == self.texts[n - 1 :])
        return inside, hashes[inside]


def words(texts: Sequence[str]) -> Words:
    """The words of texts. Memory: about 20 bytes a character; `batches` cuts a stream of texts.

    >>> found = words(["Don't panic: 42!", "漢字 ok"])
    >>> ["".join(map(chr, found.letters[a:b])) for a, b in pairwise(found.bounds)]
    ['dont', 'panic', '42', '漢', '字', 'ok']
    >>> found.texts.tolist(), found.starts.tolist(), found.ends.tolist()
    ([0, 0, 0, 1, 1, 1], [0, 6, 13, 0, 1, 3], [5, 11, 15, 1, 2, 5])
    """
    joined = "\n".join(texts)
    slices, letters, begin = [_slice("", 0, 0)], 0, 0
    while begin < len(joined):
        space = _WHITESPACE.search(joined, begin + SLICE)
        end = space.end() if space else len(joined)
        slices.append(_slice(joined[begin:end], begin, letters))
        letters += len(slices[-1][0])
        begin = end
    found, bounds, hashes, starts, ends = (np.concatenate(column) for column in zip(*slices, strict=True))
    begins = np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.int64)
    counts = np.diff(np.searchsorted(starts, begins))
    numbers = np.repeat(np.arange(len(texts)), counts)
    starts, ends = starts - begins[numbers], ends - begins[numbers]
    return Words(found, np.append(bounds, letters), hashes, numbers, starts, ends)


def batches(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Cut a stream of texts into lists of about SLICE characters, or one longer text.

    Gives the number of each list's first text, too.
    """
    first, size, gathered = 0, 0, list[str]()
    for text in texts:
        if gathered and size + len(text) > SLICE:
            yield first, gathered
            first, size, gathered = first + len(gathered), 0, []
        gathered.append(text)
        size += len(text)
    if gathered:
        yield first, gathered


@dataclass(frozen=True)
class Grams:
    """The distinct n-grams of a collection, found by hash and compared by their letters.

    hashes: (g,) uint64, ascending; a gram's number is its place here. first: (g,) int64, its first word in
    the collection. letters, bounds: the collection's, as in Words. The arrays may be maps of files; memory
    beside them: 16 to 32 bytes a gram.
    """

    n: int
    hashes: U64
    first: Places
    letters: U32
    bounds: Places

    @staticmethod
    def of(collection: Words, n: int) -> Grams:
        """All n-grams of a collection; of equal ones the first."""
        first, hashes = collection.grams(n)
        order = np.argsort(hashes, kind="stable")
        first, hashes = first[order], hashes[order]
        new = np.ones(len(hashes), np.bool_)
        new[1:] = hashes[1:] != hashes[:-1]
        leader = first[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(new) else first
        stream = (collection.letters, collection.bounds)
        again = np.flatnonzero(~new)  # the same gram, or another one that has its hash
        new[again] = ~_same(stream, first[again], stream, leader[again], n)
        return Grams(n, hashes[new], first[new], *stream)

    def __len__(self) -> int:
        return len(self.hashes)

    def find(self, texts: Words) -> tuple[Places, Places]:
        """Every occurrence in some texts: its first word there, ascending, and the gram's number."""
        first, hashes = texts.grams(self.n)
        shift, present = self._filter
        likely = np.flatnonzero(present[hashes >> shift])
        first, hashes = first[likely], hashes[likely]
        number = np.searchsorted(self.hashes, hashes)
        found = [(first[:0], number[:0])]
        while len(first):  # once, unless different grams of the collection share a hash
            equal = self.hashes[np.minimum(number, len(self) - 1)] == hashes
            equal &= number < len(self)
            first, hashes, number = first[equal], hashes[equal], number[equal]
            theirs, ours = (texts.letters, texts.bounds), (self.letters, self.bounds)
            same = _same(theirs, first, ours, self.first[number], self.n)
            found.append((first[same], number[same]))
            first, hashes, number = first[~same], hashes[~same], number[~same] + 1
        starts, numbers = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(starts, kind="stable")
        return starts[order], numbers[order]

    def text(self, number: int) -> str:
        """The words of a gram, with a space between two."""
        bounds = self.bounds[self.first[number] : self.first[number] + self.n + 1]
        return " ".join("".join(map(chr, self.letters[a:b])) for a, b in pairwise(bounds))

    @cached_property
    def _filter(self) -> tuple[np.uint64, Bools]:
        """Which values the first bits of the hashes take; at most one of sixteen does."""
        bits = (16 * len(self)).bit_length()
        shift = np.uint64(64 - bits)
        present = np.zeros(1 << bits, np.bool_)
        present[self.hashes >> shift] = True
        return shift, present


Stream = tuple[U32, Places]
"""Letters and bounds of words, as in Words."""


def _same(one: Stream, one_first: Places, other: Stream, other_first: Places, n: int) -> Bools:
    """Whether the n words from each of `one_first` on are those from `other_first` on, letter by letter."""
    blocks = [
        _same_block(one, one_first[at : at + _COMPARED], other, other_first[at : at + _COMPARED], n)
        for at in range(0, len(one_first), _COMPARED)
    ]
    return np.concatenate([np.empty(0, np.bool_), *blocks])


def _same_block(one: Stream, one_first: Places, other: Stream, other_first: Places, n: int) -> Bools:
    steps = np.arange(n + 1)
    bounds, other_bounds = one[1][one_first[:, None] + steps], other[1][other_first[:, None] + steps]
    begin, other_begin = bounds[:, 0], other_bounds[:, 0]
    same: Bools = (bounds - begin[:, None] == other_bounds - other_begin[:, None]).all(axis=1)
    alike = np.flatnonzero(same)  # as far as the lengths of their words go
    if len(alike):
        lengths = bounds[alike, -1] - begin[alike]
        places = np.cumsum(lengths) - lengths
        within = np.arange(lengths.sum()) - np.repeat(places, lengths)
        letters = one[0][np.repeat(begin[alike], lengths) + within]
        others = other[0][np.repeat(other_begin[alike], lengths) + within]
        same[alike] = np.logical_and.reduceat(letters == others, places)
    return same


def _slice(text: str, begin: int, letters_before: int) -> tuple[U32, Places, U64, Places, Places]:
    """Letters, bounds, hashes, starts and ends of the words of a slice that begins and ends between words."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    folded = _folded().take(codes, mode="clip")
    places = np.flatnonzero(folded > _SPACE)
    letters = folded[places]
    spaces = np.cumsum(folded == _SPACE, dtype=np.int32)[places]
    first = np.ones(len(letters), np.bool_)
    first[1:] = spaces[1:] != spaces[:-1]
    if len(letters) and letters.max() >= _unspaced().argmax():
        alone = _unspaced()[letters]
        first |= alone
        first[1:] |= alone[:-1]
    bounds = np.append(np.flatnonzero(first), len(letters))
    hashes = _hashes(letters, bounds[:-1], bounds[1:], _LETTER_BASE)
    starts, ends = places[bounds[:-1]], places[bounds[1:] - 1] + 1
    return letters, bounds[:-1] + letters_before, hashes, starts + begin, ends + begin


def _hashes(values: npt.NDArray[Any], starts: Places, ends: Places, base: int) -> U64:
    """sum(values[start + i] * base**i) modulo 2^64, for each [start, end)."""
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * _powers(base, len(values)), out=sums[1:])
    inverse = pow(base, -1, 1 << 64)
    hashes: U64 = (sums[ends] - sums[starts]) * _powers(inverse, len(values))[starts]
    return hashes


def _powers(base: int, number: int) -> U64:
    """base**0, base**1 and so on, modulo 2^64."""
    return _powers_of_two(base, max(number, SLICE).bit_length())[:number]


@cache
def _powers_of_two(base: int, bits: int) -> U64:
    powers = np.ones(1, np.uint64)
    for bit in range(bits):
        powers = np.append(powers, powers * np.uint64(pow(base, 1 << bit, 1 << 64)))
    return powers


@cache
def _folded() -> U32:
    """What becomes of every code point: a letter in lower case, _SPACE, or _DELETED: punctuation, symbols."""
    table = np.full(_CODES, _DELETED, np.uint32)
    for code in range(_CODES - 1):
        character = chr(code)
        lower = character.lower()
        if character.isspace():
            table[code] = _SPACE
        elif unicodedata.category(character)[0] in "LNM":
            table[code] = ord(lower) if len(lower) == 1 else code
    return table


@cache
def _unspaced() -> Bools:
    """Whether a code point is a word of its own."""
    own = re.compile(f"[{UNSPACED}]")
    return np.array([bool(own.match(chr(code))) for code in range(_CODES)])
