"""Two evaluations of the same documents: is one model better? The paired bootstrap of their difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from pipeline.errors import RunError
from pipeline.eval.intervals import difference, ends, finite, value
from pipeline.eval.measures import MEASURES, Sums
from pipeline.eval.table import printed, titled
from pipeline.monitor.evaluations import SAMPLES, Results, Score, folder_of, read_results, read_samples

Samples = dict[str, dict[str, Any]]
"""Rows of one task, protocol and number of shots, by the documents' keys."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One measure of two models, a and b. difference: a - b, with its 95 % interval.

    better: the model that the interval declares better; empty where it holds 0.
    """

    task: str
    shots: int
    protocol: str
    measure: str
    n: int
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    better: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """a, b: the models. only_a, only_b: TASK/SHOTS/PROTOCOL that the other evaluation lacks."""

    a: str
    b: str
    differences: Sequence[Difference]
    only_a: Sequence[str]
    only_b: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(a: Path, b: Path, seed: int = 0) -> Comparison:
    """Compare two evaluations by their directories. seed: of the resamples.

    Raises RunError when they have no task in common, or when a common one has other files, other settings or
    other documents.
    """
    a, b = folder_of(a), folder_of(b)
    first, second = read_results(a), read_results(b)
    keys = [list(dict.fromkeys(score.key for score in each.scores)) for each in (first, second)]
    common = [key for key in keys[0] if key in keys[1]]
    if not common:
        raise RunError(
            f"{a} and {b} have no task, protocol and number of shots in common: "
            f"{', '.join(keys[0]) or 'none'} against {', '.join(keys[1]) or 'none'}"
        )
    for key in common:
        _same_question(key, (a, first), (b, second))
    scores = [score for score in first.scores if score.key in common]
    other = {file for file, digest in first.sets.items() if second.sets.get(file, digest) != digest}
    return Comparison(
        a=titled(first.model),
        b=titled(second.model),
        differences=list(_differences(a, b, scores, other, seed)),
        only_a=[key for key in keys[0] if key not in common],
        only_b=[key for key in keys[1] if key not in common],
    )


def table(found: Comparison) -> Table:
    """The differences for a terminal."""
    shown = Table(
        title=f"a: {found.a}; b: {found.b}", caption=_left_out(found) or None, box=SIMPLE, pad_edge=False
    )
    for name in ("task", "shots", "protocol", "measure"):
        shown.add_column(name)
    for name in ("a", "b", "a - b", "95 %", "n", "better"):
        shown.add_column(name, justify="right")
    for each in found.differences:
        values = (each.a, each.b, each.difference)
        between = f"{printed(each.measure, each.low)} to {printed(each.measure, each.high)}"
        shown.add_row(
            each.task,
            str(each.shots),
            each.protocol,
            each.measure,
            *(printed(each.measure, number) for number in values),
            between if each.low is not None else "",
            f"{each.n:,}",
            each.better,
        )
    return shown


def _left_out(found: Comparison) -> str:
    sides = (("a", found.only_a), ("b", found.only_b))
    return "; ".join(f"only in {name}: {', '.join(keys)}" for name, keys in sides if keys)


def _same_question(key: str, a: tuple[Path, Results], b: tuple[Path, Results]) -> None:
    """Raise RunError when two evaluations asked a task in different ways."""
    ours, theirs = (results.configs.get(key, {}) for _, results in (a, b))
    other = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if other:
        raise RunError(
            f"{key}: was asked in other ways in {a[0]} and {b[0]}: {', '.join(other)} differ; "
            "evaluate both with the same version of outbound"
        )
    if (shots := key.split("/")[-2]) != "0" and a[1].seed != b[1].seed:
        raise RunError(
            f"{key}: its {shots} solved examples were drawn with --seed {a[1].seed} in {a[0]} and "
            f"{b[1].seed} in {b[0]}; evaluate both with one seed"
        )


def _differences(
    a: Path, b: Path, scores: Sequence[Score], other: set[str], seed: int
) -> Iterator[Difference]:
    """other: files that are not the same for both."""
    rows: dict[str, tuple[Samples, Samples]] = {}
    for score in scores:
        if score.key not in rows:
            rows = {score.key: _same_documents(score, a, b)}
        ours, theirs = rows[score.key]
        if wrong := sorted({row["file"] for row in ours.values()} & other):
            raise RunError(
                f"{score.key}: {', '.join(wrong)} is not the same file for {a} and {b}; use one set"
            )
        measure = MEASURES[score.measure]
        numbers = [_numbers(side, score.measure) for side in (ours, theirs)]
        units = [row["unit"] for row in ours.values()]
        values = [value(measure, each) for each in numbers]
        low, high, _ = ends(difference(measure, numbers[0], numbers[1], units, seed))
        yield Difference(
            task=score.task,
            shots=score.shots,
            protocol=score.protocol,
            measure=score.measure,
            n=len(units),
            a=finite(values[0]),
            b=finite(values[1]),
            difference=finite(values[0] - values[1]),
            low=low,
            high=high,
            better=_better(low, high, measure.higher_is_better),
        )


def _better(low: float | None, high: float | None, higher_is_better: bool) -> str:
    """
    >>> _better(0.1, 0.3, True), _better(0.1, 0.3, False), _better(-0.1, 0.3, True)
    ('a', 'b', '')
    """
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "a" if (low > 0) == higher_is_better else "b"


def _same_documents(score: Score, a: Path, b: Path) -> tuple[Samples, Samples]:
    """The rows of both, in one order. Raises RunError when they are not of the same documents."""
    ours, theirs = (_samples(folder, score) for folder in (a, b))
    if ours.keys() != theirs.keys():
        first = min(ours.keys() ^ theirs.keys())
        raise RunError(
            f"{score.key}: {a} has {len(ours):,} documents and {b} {len(theirs):,}, and only one of them has "
            f"{first}; evaluate both with the same files and the same --limit"
        )
    return ours, {key: theirs[key] for key in ours}


def _samples(folder: Path, score: Score) -> Samples:
    path = folder / SAMPLES / f"{score.task}.jsonl.zst"
    rows = (row for row in read_samples(path) if row["shots"] == score.shots)
    return {row["key"]: row for row in rows if row["protocol"] == score.protocol}


def _numbers(samples: Samples, measure: str) -> Sums:
    """(documents, k); zeros where a document lacks the measure."""
    rows = [row["values"].get(measure) for row in samples.values()]
    width = max((len(row) for row in rows if row), default=1)
    return np.array([row or [0.0] * width for row in rows], np.float64).reshape(len(rows), width)
