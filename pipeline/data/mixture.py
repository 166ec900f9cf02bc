"""Several sources in fixed shares: which source sample k comes from, and how many came before it. Pure.

Weights are rounded to 4096ths, and the samples follow one schedule of that period, so that every count is
known at once and after any k samples each source has had its share of them to within one sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

PERIOD = 4096


def quantised(weights: Sequence[float]) -> tuple[int, ...]:
    """Weights as 4096ths of their sum, each at least one: largest remainders get what rounding leaves.

    >>> quantised([60, 22, 8, 8, 3])
    (2433, 892, 325, 324, 122)
    """
    shares = [weight / sum(weights) * PERIOD for weight in weights]
    parts = [max(1, int(share)) for share in shares]
    while (left := PERIOD - sum(parts)) != 0:
        step = 1 if left > 0 else -1
        able = [source for source, part in enumerate(parts) if part + step >= 1]
        furthest = max(able, key=lambda source: (step * (shares[source] - parts[source]), -source))
        parts[furthest] += step
    return tuple(parts)


@dataclass(frozen=True)
class Mixture:
    """The schedule of some sources; `parts` are their weights in 4096ths.

    >>> mixture = Mixture((2048, 1024, 1024))
    >>> [mixture.source(k) for k in range(8)]
    [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (2, 1), (0, 3)]
    """

    parts: tuple[int, ...]

    def source(self, sample: int) -> tuple[int, int]:
        """The source of a sample, and how many samples of that source come before it."""
        sources, indices = self.sources(np.array([sample]))
        return int(sources[0]), int(indices[0])

    def sources(self, samples: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
        """`source` of each sample of a 1-d array."""
        periods, places = np.divmod(samples, PERIOD)
        sources = self._schedule[places]
        return sources, periods * np.array(self.parts)[sources] + self._before[places, sources]

    def counts(self, samples: int) -> list[int]:
        """How many of the first so many samples each source gives."""
        periods, place = divmod(samples, PERIOD)
        return [periods * part + int(self._before[place, source]) for source, part in enumerate(self.parts)]

    @cached_property
    def _schedule(self) -> npt.NDArray[np.uint16]:
        """(4096,) sources, by the rule of Tijdeman 1980, The chairman assignment problem.

        Of those that are due, the one whose turn is over first; each stays within one of its share.
        """
        sources = len(self.parts)
        slack = 1 / max(2 * sources - 2, 1)
        had = [0] * sources
        schedule = np.zeros(PERIOD, np.uint16)
        for place in range(PERIOD if sources > 1 else 0):
            behind = [part * (place + 1) / PERIOD - had[source] for source, part in enumerate(self.parts)]
            due = [source for source in range(sources) if behind[source] >= slack]
            chosen = min(due, key=lambda source: (1 - slack - behind[source]) / self.parts[source])
            schedule[place] = chosen
            had[chosen] += 1
        return schedule

    @cached_property
    def _before(self) -> npt.NDArray[np.int64]:
        """(4097, sources): how many of each source's samples come before a place of the schedule."""
        given = self._schedule[:, None] == np.arange(len(self.parts))
        return np.vstack([np.zeros(len(self.parts), np.int64), np.cumsum(given, axis=0)])
