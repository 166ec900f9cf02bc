"""Ranges of the data order that a run skips, because its loss spiked there.

Samples that a run trains on are numbered 0, 1, 2, ...; the data order numbers all samples, the skipped
ones too. SkippedRanges maps the first numbers to the second. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SkippedRanges:
    """Ranges [start, end) of the data order that are skipped, ascending, none touching another."""

    ranges: tuple[tuple[int, int], ...] = ()

    def position(self, sample: int) -> int:
        """Return the position of the run's sample in the data order.

        >>> [SkippedRanges(((2, 4), (6, 7))).position(sample) for sample in range(6)]
        [0, 1, 4, 5, 7, 8]
        """
        return int(self.positions(np.array([sample]))[0])

    def positions(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`position` of each sample of an array."""
        for start, end in self.ranges:
            samples = samples + (samples >= start) * (end - start)
        return samples

    def skipping(self, first: int, last: int) -> SkippedRanges:
        """Skip the run's samples [first, last), too, and what was skipped between them.

        >>> SkippedRanges(((2, 4),)).skipping(1, 4)
        SkippedRanges(ranges=((1, 6),))
        """
        start, end = self.position(first), self.position(last - 1) + 1
        apart = [span for span in self.ranges if span[1] < start or span[0] > end]
        touching = [span for span in self.ranges if span not in apart]
        whole = min([start, *(low for low, _ in touching)]), max([end, *(high for _, high in touching)])
        return SkippedRanges(tuple(sorted([*apart, whole])))
