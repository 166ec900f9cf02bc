"""The order of the data as a function: sample k of a run is a sequence number, computed, never stored.

Each epoch is a permutation of all sequences, without replacement. It permutes blocks of neighbouring
sequences over the whole generation, then the sequences within each block, so that a reader sees large
stretches of the files. Resuming needs k and nothing else; neither ranks nor batch sizes enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import xxhash

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

    def _walk(self, value: int, turns: range, sign: int) -> int:
        if not 0 <= value < self.size:
            raise ValueError(f"{value} is outside range({self.size})")
        wide = math.isqrt(self.size - 1) + 1
        high = -(-self.size // wide)
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

    def _mix(self, turn: int, half: int) -> int:
        return xxhash.xxh3_64_intdigest(b"%d/%d" % (turn, half), seed=self.key)


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
        epoch, place = divmod(sample, self.sequences)
        blocks, partial_at = _epoch(self, epoch)
        remainder = self.sequences % self.block
        # Only the stream's last block can be short. Where it stands in this epoch, all after it move up.
        if remainder and place >= partial_at * self.block + remainder:
            place += self.block - remainder
        position, within = divmod(place, self.block)
        block = blocks(position)
        size = remainder if remainder and block == blocks.size - 1 else self.block
        inner = Permutation(size, _key(self.seed, self.generation, epoch, block))
        return block * self.block + inner(within)


@lru_cache(maxsize=4)
def _epoch(order: Order, epoch: int) -> tuple[Permutation, int]:
    """The epoch's permutation of blocks, and the place in it of the stream's last block."""
    count = -(-order.sequences // order.block)
    blocks = Permutation(count, _key(order.seed, order.generation, epoch))
    return blocks, blocks.index(count - 1)


def _key(*parts: int) -> int:
    return xxhash.xxh3_64_intdigest("/".join(map(str, parts)).encode())
