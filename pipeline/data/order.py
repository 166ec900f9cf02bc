"""The order of the data as a function: sample k of a run is a sequence number, computed, never stored.

Each epoch is a permutation of all sequences, without replacement. It permutes blocks of neighbouring
sequences over the whole generation, then the sequences within each block, so that a reader sees large
stretches of the files. Resuming needs k and nothing else; neither ranks nor batch sizes enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

Int64s = npt.NDArray[np.int64]

ROUNDS = 6
"""Feistel rounds: four make a pseudorandom permutation (Luby and Rackoff 1988), tiny domains want more."""


@dataclass(frozen=True)
class Permutation:
    """A keyed permutation of range(size) that maps any index, forward or back, in constant time and memory.

    A Feistel network over Z_a x Z_b with a * b just above size, cycle-walked down to size: "generalised
    Feistel" in Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains, section 5.

    >>> shuffle = Permutation(10, key=1)
    >>> sorted(shuffle(i) for i in range(10)) == list(range(10))
    True
    >>> all(shuffle.index(shuffle(i)) == i for i in range(10))
    True
    >>> shuffle.many(np.arange(10)).tolist() == [shuffle(i) for i in range(10)]
    True
    """

    size: int
    key: int
    """64 bits."""

    def __call__(self, index: int) -> int:
        """Return what stands at `index`."""
        return self._walk(index, range(ROUNDS), +1)

    def index(self, value: int) -> int:
        """Return where `value` stands: the inverse."""
        return self._walk(value, range(ROUNDS)[::-1], -1)

    def many(self, indices: Int64s) -> Int64s:
        """Return what stands at each index of a 1-d array, from tables that take some square root of size."""
        wide, high = self._sides
        left, right = np.divmod(indices, wide)
        for turn, mixed in enumerate(self._tables):
            if turn % 2:
                left = (left + mixed[right]) % high
            else:
                right = (right + mixed[left]) % wide
        values: Int64s = left * wide + right
        outside = values >= self.size
        if outside.any():
            values[outside] = self.many(values[outside])
        return values

    def _walk(self, value: int, turns: range, sign: int) -> int:
        if not 0 <= value < self.size:
            raise ValueError(f"{value} is outside range({self.size})")
        wide, high = self._sides
        while True:
            left, right = divmod(value, wide)
            for turn in turns:
                if turn % 2:
                    left = (left + sign * self._mix(turn, right)) % high
                else:
                    right = (right + sign * self._mix(turn, left)) % wide
            value = left * wide + right
            if value < self.size:
                return value

    @property
    def _sides(self) -> tuple[int, int]:
        wide = math.isqrt(self.size - 1) + 1
        return wide, -(-self.size // wide)

    @cached_property
    def _tables(self) -> list[Int64s]:
        """What each turn adds, by the half that it is mixed from."""
        wide, high = self._sides
        halves, limits = (high, wide), (wide, high)
        return [
            np.array(
                [self._hash(label) % limits[turn % 2] for label in _labels(turn, halves[turn % 2])], np.int64
            )
            for turn in range(ROUNDS)
        ]

    def _mix(self, turn: int, half: int) -> int:
        return self._hash(_label(turn, half))

    def _hash(self, label: bytes) -> int:
        return xxhash.xxh3_64_intdigest(label, self.key)


def _label(turn: int, half: int) -> bytes:
    return b"%d/%d" % (turn, half)


@lru_cache(maxsize=2 * ROUNDS)
def _labels(turn: int, halves: int) -> list[bytes]:
    """Of every half: blocks are of one size, and their tables are made anew all the time."""
    return [_label(turn, half) for half in range(halves)]


@dataclass(frozen=True)
class Order:
    """The order in which a run reads a generation: `order(k)` is the sequence number of sample k."""

    sequences: int
    """Sequences in the generation's training split."""
    block: int
    """Neighbouring sequences that are read near each other; 1 shuffles them one by one."""
    seed: int
    generation: int

    def __call__(self, sample: int) -> int:
        """Return the sequence number, in range(sequences), of sample 0, 1, 2, ... of the run."""
        return int(self.many(np.array([sample]))[0])

    def many(self, samples: Int64s) -> Int64s:
        """Return the sequence number of each sample of a 1-d array."""
        epochs, places = np.divmod(samples, self.sequences)
        for epoch in set(epochs.tolist()):
            now = epochs == epoch
            places[now] = self._within(epoch, places[now])
        return places

    def _within(self, epoch: int, places: Int64s) -> Int64s:
        """The sequence numbers that stand at some places of an epoch."""
        blocks, partial_at = _epoch(self, epoch)
        remainder = self.sequences % self.block
        # Only the stream's last block can be short. Where it stands in this epoch, all after it move up.
        if remainder:
            places = places + (places >= partial_at * self.block + remainder) * (self.block - remainder)
        positions, within = np.divmod(places, self.block)
        block_of = blocks.many(positions)
        if self.block > 1:
            for block in set(block_of.tolist()):
                size = remainder if remainder and block == blocks.size - 1 else self.block
                inner = _inner(size, _key(self.seed, self.generation, epoch, block))
                here = block_of == block
                within[here] = inner.many(within[here])
        return block_of * self.block + within


@lru_cache(maxsize=4)
def _epoch(order: Order, epoch: int) -> tuple[Permutation, int]:
    """The epoch's permutation of blocks, and the place in it of the stream's last block."""
    count = -(-order.sequences // order.block)
    blocks = Permutation(count, _key(order.seed, order.generation, epoch))
    return blocks, blocks.index(count - 1)


@lru_cache(maxsize=64)
def _inner(size: int, key: int) -> Permutation:
    """The permutation within a block, whose tables serve all of its samples."""
    return Permutation(size, key)


def _key(*parts: int) -> int:
    return xxhash.xxh3_64_intdigest("/".join(map(str, parts)).encode())
