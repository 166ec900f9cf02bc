"""The skip ledger: stretches of the data order that a run leaves out, since its loss spiked there.

Samples that a run trains on are numbered 0, 1, 2, ...; the order of the data numbers all samples, those left
out as well. The ledger maps the first numbers to the second. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Ledger:
    """Ranges [start, end) of the data order that are skipped, ascending, none touching another."""

    ranges: tuple[tuple[int, int], ...] = ()

    def place(self, sample: int) -> int:
        """Where in the data order the run's sample stands.

        >>> [Ledger(((2, 4), (6, 7))).place(sample) for sample in range(6)]
        [0, 1, 4, 5, 7, 8]
        """
        return int(self.places(np.array([sample]))[0])

    def places(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`place` of each sample of an array."""
        for start, end in self.ranges:
            samples = samples + (samples >= start) * (end - start)
        return samples

    def skipping(self, first: int, last: int) -> Ledger:
        """Leave out the run's samples [first, last), too, and what was skipped between them.

        >>> Ledger(((2, 4),)).skipping(1, 4)
        Ledger(ranges=((1, 6),))
        """
        start, end = self.place(first), self.place(last - 1) + 1
        apart = [each for each in self.ranges if each[1] < start or each[0] > end]
        touching = [each for each in self.ranges if each not in apart]
        whole = min([start, *(low for low, _ in touching)]), max([end, *(high for _, high in touching)])
        return Ledger(tuple(sorted([*apart, whole])))
