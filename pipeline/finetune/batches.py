"""Batches of examples of like length, in an order that is a function of seed and epoch. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

POOL_BATCHES = 50
"""Examples of so many batches are sorted by length together: with more of them there is less padding."""


def updates_of(examples: int, batch: int, epochs: int, keep_rest: bool) -> int:
    """Updates of a training; with `keep_rest` an epoch ends with a smaller batch, else it leaves some out.

    >>> updates_of(100, 32, 3, keep_rest=False), updates_of(100, 32, 3, keep_rest=True)
    (9, 12)
    """
    return epochs * (-(-examples // batch) if keep_rest else examples // batch)


def epoch_batches(
    lengths: Sequence[int], batch: int, seed: int, epoch: int, keep_rest: bool
) -> list[list[int]]:
    """The batches of an epoch: indices of examples, each once; without `keep_rest` whole batches only.

    The order is random. Within a pool of batches the examples are sorted by length before they are divided,
    so that a batch has little padding; then the batches of the epoch are shuffled.

    >>> epoch_batches([5, 1, 4, 2, 3], batch=2, seed=0, epoch=0, keep_rest=True)
    [[0], [1, 3], [4, 2]]
    """
    random = np.random.default_rng([seed % 2**63, epoch])
    order = random.permutation(len(lengths))
    if not keep_rest:
        order = order[: len(order) // batch * batch]
    found = []
    for first in range(0, len(order), batch * POOL_BATCHES):
        pool = order[first : first + batch * POOL_BATCHES]
        pool = pool[np.argsort([lengths[index] for index in pool], kind="stable")]
        found += [pool[at : at + batch].tolist() for at in range(0, len(pool), batch)]
    return [found[index] for index in random.permutation(len(found))]


def by_length(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """All examples in batches of at most so many tokens with padding, or of one example; the longest first.

    >>> by_length([5, 1, 4, 2, 3], tokens=8)
    [[0], [2, 4], [3, 1]]
    """
    found: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > tokens:
            found.append([])
        found[-1].append(index)
    return found
