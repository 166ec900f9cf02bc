"""Texts with a common beginning as one row of a batch: the tokens that they share are computed once.

A row is a trie of texts. Its tokens stand in depth-first order, each after the one that it follows:

    the cat on               the  cat  on  ran  sat  dog  ran
    the cat ran       depth    0    1   2    2    2    1    2
    the cat sat       end      7    5   3    4    5    7    7
    the dog ran

A token's position is its depth. The tokens that see token i are i, ..., end[i] - 1: what follows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = Sequence[int]
Ints = npt.NDArray[np.int64]

WASTE = 0.15
"""Largest share of a row in a batch that is padding."""
FEW = 16
"""Tokens of padding that are always allowed: with so few, reading the weights takes longer than computing."""


@dataclass(frozen=True)
class Text:
    """One text that a model reads. tokens: its input. asked: number of predictions that are wanted, at least
    1, one after each of its last tokens."""

    tokens: tuple[int, ...]
    asked: int


@dataclass(frozen=True)
class Row:
    """A trie of texts. tokens, depth, end: (tokens,) int64, see above. asked: for each of its texts, the
    index, and the places in the row after which a prediction is wanted."""

    tokens: Ints
    depth: Ints
    end: Ints
    asked: list[tuple[int, list[int]]]

    @property
    def branches(self) -> bool:
        """Whether it holds more than one text and beginnings of that text."""
        return bool(self.depth[-1] + 1 < len(self.depth))


def rows(texts: Sequence[Text], *, largest: int, pairs: float) -> Iterator[Row]:
    """Put all texts into rows.

    A row has at most `largest` tokens, or one text. Attention is computed for all pairs of a row's tokens,
    and `pairs` of them cost as much as a token in the rest of the model. A text joins a row where the common
    tokens save more than the additional pairs cost.
    """
    row = _Growing()
    for index in sorted(range(len(texts)), key=lambda index: texts[index].tokens):
        tokens = texts[index].tokens
        shared = _shared(row.newest, tokens)
        size, new = len(row.tokens), len(tokens) - shared
        cost = (size + new) ** 2 - size**2 - len(tokens) ** 2
        if size and (size + new > largest or cost > shared * pairs):
            yield row.whole()
            row, shared = _Growing(), 0
        row.add(index, texts[index], shared)
    if row.tokens:
        yield row.whole()


def batches(rows: Sequence[Row], batch_tokens: int) -> list[list[int]]:
    """Put rows of like length together, the longest first: lists of their indices.

    A batch has at most `batch_tokens` tokens with its padding, or one row. Rows that branch stand apart from
    those that do not, whose attention is faster.
    """
    found: list[list[int]] = []
    for index in sorted(range(len(rows)), key=lambda index: (rows[index].branches, -len(rows[index].tokens))):
        if found:
            first, length = rows[found[-1][0]], len(rows[index].tokens)
            longest = len(first.tokens)
            spare = max(WASTE * longest, FEW)
            fits = (len(found[-1]) + 1) * longest <= batch_tokens and longest - length <= spare
            if fits and first.branches == rows[index].branches:
                found[-1].append(index)
                continue
        found.append([index])
    return found


class _Growing:
    """A row to which texts are added in their order, so that each shares most with the one before."""

    def __init__(self) -> None:
        self.newest: Tokens = ()
        self.tokens: list[int] = []
        self._depth: list[int] = []
        self._end: list[int] = []
        self._path: list[int] = []  # where the tokens of the newest text stand
        self._asked: list[tuple[int, list[int]]] = []

    def add(self, index: int, text: Text, shared: int) -> None:
        """Add a text that shares so many tokens with the newest."""
        first, new = len(self.tokens), text.tokens[shared:]
        self._close(shared)
        self._path += range(first, first + len(new))
        self._depth += range(shared, len(text.tokens))
        self._end += [0] * len(new)
        self.tokens += new
        self._asked.append((index, self._path[len(text.tokens) - text.asked : len(text.tokens)]))
        self.newest = text.tokens

    def whole(self) -> Row:
        self._close(0)
        return Row(np.array(self.tokens), np.array(self._depth), np.array(self._end), self._asked)

    def _close(self, shared: int) -> None:
        """End the branch after its first tokens."""
        for place in self._path[shared:]:
            self._end[place] = len(self.tokens)
        del self._path[shared:]


def _shared(one: Tokens, other: Tokens) -> int:
    """How many tokens both begin with.

    >>> _shared([5, 6, 7], [5, 6, 8, 9]), _shared([], [5])
    (2, 0)
    """
    alike = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        alike += 1
    return alike
