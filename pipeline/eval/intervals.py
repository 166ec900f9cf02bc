"""How far a measured value may be from the true one: Wilson's interval, and the bootstrap over units.

A measure is a function of sums over documents (`measures.py`), so a resample of the documents is a row of
weights times the documents' numbers. Documents of one article or story are one unit, and are drawn together:
they resemble each other, so that intervals over them one by one would be too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.eval.measures import Measure, Sums

RESAMPLES = 10_000
MOST_UNITS = 20_000
"""Units that are drawn one by one; of more, neighbours are joined into one."""
Z = 1.959963984540054
"""97.5th percentile of the normal distribution: intervals hold 95 %."""
_ROWS = 256
"""Resamples whose weights stand at once: at most _ROWS x MOST_UNITS x 8 bytes, 41 MB."""


@dataclass(frozen=True)
class Interval:
    """The interval that holds the true value in 95 % of all cases, and the standard error."""

    low: float
    high: float
    stderr: float


def value(measure: Measure, numbers: Sums) -> float:
    """The measure of documents (documents, k); NaN where it has none, as the accuracy of no document."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(measure.value(numbers.sum(axis=0)))


def interval(measure: Measure, numbers: Sums, units: Sequence[str], seed: int) -> Interval | None:
    """The interval of a measure of documents (documents, k), each of a unit.

    Wilson's for a proportion of independent documents, the bootstrap's for all else. None where fewer than
    two units leave nothing to draw.
    """
    if len(set(units)) < 2:
        return None
    if measure.proportion and len(set(units)) == len(units):
        right, documents = numbers.sum(axis=0)
        return wilson(right, documents) if documents else None
    return _of(_values(measure, resampled(numbers, units, seed)))


def difference(
    measure: Measure, first: Sums, second: Sums, units: Sequence[str], seed: int
) -> Interval | None:
    """The interval of first - second: two measurements of the same documents, (documents, k) each.

    Both are computed from the same resamples, so that what is hard for both cancels out. A document that one
    side lacks is a row of zeros there.
    """
    if len(set(units)) < 2:
        return None
    both = resampled(np.hstack([first, second]), units, seed)
    numbers = first.shape[1]
    return _of(_values(measure, both[:, :numbers]) - _values(measure, both[:, numbers:]))


def wilson(right: float, documents: float) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927), and its standard error (n - 1 in the divisor).

    >>> found = wilson(8, 10)
    >>> round(found.low, 4), round(found.high, 4), round(found.stderr, 4)
    (0.4902, 0.9433, 0.1333)
    """
    share, spread = right / documents, Z**2 / documents
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(share * (1 - share) / documents + spread / documents / 4)
    stderr = np.sqrt(share * (1 - share) / max(documents - 1, 1))
    return Interval(float(max(0.0, centre - half)), float(min(1.0, centre + half)), float(stderr))


def resampled(numbers: Sums, units: Sequence[str], seed: int, resamples: int = RESAMPLES) -> Sums:
    """Sums of (documents, k) numbers over resamples of the units: (resamples, k).

    The same units, seed and order of documents give the same resamples, whatever the numbers are.
    """
    sums = _by_unit(numbers, units)
    generator, count = np.random.default_rng(seed), len(sums)
    drawn = np.empty((resamples, sums.shape[1]))
    for first in range(0, resamples, _ROWS):
        rows = range(first, min(first + _ROWS, resamples))
        weights = [np.bincount(generator.integers(0, count, count), minlength=count) for _ in rows]
        drawn[first : rows.stop] = np.array(weights, np.float64) @ sums
    return drawn


def finite(number: float) -> float | None:
    """A number for JSON, which knows neither NaN nor infinity.

    >>> finite(0.25), finite(float("nan"))
    (0.25, None)
    """
    return number if np.isfinite(number) else None


def ends(found: Interval | None) -> tuple[float | None, float | None, float | None]:
    """Low, high and standard error with six digits: in which order a processor has added resamples up does
    not show.

    >>> ends(wilson(1, 3))
    (0.0614919, 0.79234, 0.333333)
    """
    if found is None:
        return None, None, None
    low, high, stderr = (float(f"{each:.6g}") for each in (found.low, found.high, found.stderr))
    return low, high, stderr


def _by_unit(numbers: Sums, units: Sequence[str]) -> Sums:
    """Sums of each unit, in the order in which units appear; neighbours joined where there are many."""
    order = {unit: place for place, unit in enumerate(dict.fromkeys(units))}
    joined = -(-len(order) // MOST_UNITS)
    places = np.array([order[unit] // joined for unit in units])
    sums = np.zeros((places.max(initial=-1) + 1, numbers.shape[1]))
    np.add.at(sums, places, numbers)
    return sums


def _values(measure: Measure, sums: Sums) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return measure.value(sums)


def _of(values: npt.NDArray[np.float64]) -> Interval | None:
    """The percentile interval; a resample without a value does not count."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return Interval(float(low), float(high), float(known.std(ddof=1)))
