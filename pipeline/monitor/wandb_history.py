"""From the metrics of a run to the history lines that Weights & Biases lacks. Pure.

A history line is one step: its training row and its evaluation, merged. It is due once the next step has
begun, since nothing is added to it then. Only what the server has decides which lines are due, and a step's
place in the history depends on the metrics alone: a line that is sent twice takes its own place.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pipeline.monitor.run_files import MetricsRow

Row = dict[str, Any]

SAMPLES_OF = "of_step"
"""The step whose checkpoint has written the samples in a history line; they come late."""
UNDONE = "undone_steps"
"""Steps in the summary that were undone after they had been sent, such as "5-7, 12"."""
EVALUATED = "evaluated"
"""Ids of the evaluations in a history line, and in the summary of all that were sent, with spaces between."""

GENERATED = "generated"
"""The table of texts that `outbound generate` wrote; with their ids they count as an evaluation."""

SCORES = "eval/"
"""Beginning of the names of scores."""
EVALUATED_STEP = f"{SCORES}step"
"""The step that the scores in a summary are of."""


@dataclass(frozen=True)
class Evaluated:
    """What was made of a step's checkpoint: an evaluation with its scores by their names, or texts, without.

    id: another one for other results.
    """

    id: str
    step: int
    scores: Row


@dataclass(frozen=True)
class Metrics:
    """All that a run has written."""

    rows: Sequence[MetricsRow]
    """In the order of writing, those that were undone among them."""
    ended: bool
    """Whether the last step is complete: the run is at its end, or was stopped after it."""
    samples: Sequence[Row] = ()
    """Of the run as it stands: {"step", "prompt", "text"}."""
    evaluations: Sequence[Evaluated] = ()


@dataclass(frozen=True)
class Known:
    """What the server has of a run. Each part may be behind the others, as they are not updated together."""

    line_count: int = 0
    last_line: Row = field(default_factory=dict)
    """Empty when there is none."""
    summary: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Due:
    """What the server lacks."""

    lines: Sequence[Row]
    """In order of steps; each is a history line, with "samples" where some are due: a list of rows."""
    offset: int
    """Place of the first line in the history; the others follow it."""
    undone: Sequence[int]
    """Steps of which the server keeps values that were undone since, and that its summary does not list."""
    again: Sequence[tuple[int, Row]] = ()
    """Places and lines of steps that the server has, with evaluations that it lacks."""

    @property
    def any(self) -> bool:
        """Whether there is a line to send."""
        return bool(self.lines or self.again)


def due(metrics: Metrics, known: Known) -> Due:
    """Return what a server that has `known` lacks of a run.

    The values of a step that the server has stay. Of the others those are due that stand now, so that a step
    which was undone before it was sent is sent as it was taken the last time.

    >>> rows = [MetricsRow({"step": 1, "loss": 4.0}, False), MetricsRow({"step": 1, "val_loss": 4.5}, False)]
    >>> rows += [MetricsRow({"step": 2, "loss": 9.0}, True), MetricsRow({"step": 2, "loss": 3.0}, False)]
    >>> first, second = due(Metrics(rows, ended=True), Known()).lines
    >>> first == {"step": 1, "loss": 4.0, "val_loss": 4.5, "_step": 1}, second["loss"]
    (True, 3.0)
    >>> len(due(Metrics(rows, ended=False), Known()).lines)  # step 2 may still be evaluated
    1
    """
    steps = sorted({row["step"] for row, _ in metrics.rows})
    last = _last_step(steps, known)
    standing: dict[int, Row] = {}
    for row, undone in metrics.rows:
        if not undone:
            standing[row["step"]] = row | standing.get(row["step"], {})
    new = sorted(step for step in standing if step > last)
    wanted = new if metrics.ended else new[:-1]
    lines = {step: _line(standing[step], metrics.rows[0].row) for step in wanted}
    _place_samples(list(lines.values()), metrics.samples, known.summary.get(SAMPLES_OF, 0))
    sent = set(known.summary.get(EVALUATED, "").split())
    late = {each.step for each in metrics.evaluations if each.step <= last and each.id not in sent}
    again = {step: _line(standing[step], metrics.rows[0].row) for step in sorted(late & standing.keys())}
    for step, line in again.items():  # it replaces a line that may have them
        _place_samples([line], [row for row in metrics.samples if row["step"] == step], 0)
    by_step = lines | again  # no step is in both
    for each in metrics.evaluations:
        if each.step in by_step:
            line = by_step[each.step]
            ids = " ".join([*line.get(EVALUATED, "").split(), each.id])
            line[EVALUATED] = ids
            line |= each.scores | ({EVALUATED_STEP: each.step} if each.scores else {})
    listed = set(parse_ranges(known.summary.get(UNDONE, "")))
    undone_since = [step for step in _undone_since(metrics.rows, last, known) if step not in listed]
    return Due(
        list(lines.values()),
        bisect_left(steps, wanted[0]) if wanted else len(steps),
        undone_since,
        [(bisect_left(steps, step), line) for step, line in again.items()],
    )


def summary_after(line: Row, summary: Row, again: bool = False) -> Row:
    """The summary after a line is sent: with the line's values, and the evaluations of all lines so far.

    again: the line was sent before, so that only its scores are new. A summary that has scores of a later
    step keeps those.

    >>> sent = summary_after({"_step": 9, "eval/step": 9, "evaluated": "b"}, {"loss": 3.0})
    >>> summary_after({"_step": 4, "loss": 5.0, "eval/step": 4, "evaluated": "a"}, sent, again=True)
    {'loss': 3.0, '_step': 9, 'eval/step': 9, 'evaluated': 'a b'}
    """
    if again:
        later = summary.get(EVALUATED_STEP, 0) > line["_step"]
        new = {
            key: value
            for key, value in line.items()
            if key == GENERATED or (key.startswith(SCORES) and not later)
        }
    else:
        new = line
    ids = {*summary.get(EVALUATED, "").split(), *line.get(EVALUATED, "").split()}
    return summary | new | ({EVALUATED: " ".join(sorted(ids))} if ids else {})


def format_ranges(steps: Iterable[int]) -> str:
    """Write steps as ranges.

    >>> format_ranges([5, 6, 7, 12])
    '5-7, 12'
    """
    ordered = sorted(set(steps))
    starts = [step for before, step in pairwise([-1, *ordered]) if step != before + 1 or before < 0]
    ends = [step for step, after in pairwise([*ordered, -1]) if after != step + 1]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def parse_ranges(text: str) -> list[int]:
    """Read what `format_ranges` wrote.

    >>> parse_ranges("5-7, 12")
    [5, 6, 7, 12]
    """
    found = re.findall(r"(\d+)(?:-(\d+))?", text)
    return [step for first, last in found for step in range(int(first), int(last or first) + 1)]


def _last_step(steps: Sequence[int], known: Known) -> int:
    """The last step that the server has: lines are sent in order, so a sign of one counts for all before."""
    by_count = steps[min(known.line_count, len(steps)) - 1] if known.line_count and steps else 0
    return max(by_count, int(known.last_line.get("_step", 0)))


def _line(row: Row, first: Row) -> Row:
    """A merged row of a run that began with the row `first`, with the keys that are W&B's own."""
    line = {key: value for key, value in row.items() if key != "time"} | {"_step": row["step"]}
    if "time" in row:
        line |= {"_timestamp": row["time"], "_runtime": max(0.0, row["time"] - first["time"])}
    return line


def _place_samples(lines: Sequence[Row], samples: Sequence[Row], sent: int) -> None:
    """Put samples of checkpoints after step `sent` into the first line that is not before them."""
    waiting = sorted((row for row in samples if row["step"] > sent), key=lambda row: row["step"])
    for line in lines:
        ready = [row for row in waiting if row["step"] <= line["_step"]]
        if ready:
            line |= {"samples": ready, SAMPLES_OF: ready[-1]["step"]}
            waiting = waiting[len(ready) :]


def _undone_since(rows: Sequence[MetricsRow], last: int, known: Known) -> list[int]:
    """Steps that stood when the server got its last line, and that were undone later."""
    seen: dict[int, bool] = {}
    line = known.last_line if known.last_line.get("_step") == last else {}  # else it is behind the count
    for row, undone in rows:
        seen[row["step"]] = undone and seen.get(row["step"], True)
        if row["step"] == last and all(row[key] == line.get(key, row[key]) for key in row):
            return sorted(step for step, gone in seen.items() if gone and step <= last)
    return []
