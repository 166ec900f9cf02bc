"""The small files of a run's directory, read back: JSON, and lines of JSON that may still be written.

Each attempt appends to a `metrics.jsonl` of its own (`pipeline.checkpoint.attempts` lists the
attempts), and nothing in it is ever changed. Every row names its attempt and its moment:

    {"attempt": 2, "time": 1790000000.123, "step": 9, "tokens": 2304, "loss": 3.1, ...}
    {"attempt": 2, "time": 1790000001.001, "step": 12, "tokens": 3072, "val_loss": 3.0}
    {"attempt": 2, "time": 1790000002.345, "rollback": {"from": 23, "to": 20}}

These are a step, an evaluation after the step of that number, and a rollback, which undoes all steps beyond
20. A step is also undone by a successor that resumed from an earlier one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.checkpoint import attempts
from pipeline.errors import RunError

METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"


class MetricsRow(NamedTuple):
    """One row of an attempt's metrics."""

    row: dict[str, Any]
    undone: bool
    """Whether the run as it stands has not taken this step, or has taken it again later."""


def all_metrics(run: Path) -> list[MetricsRow]:
    """Every step and evaluation ever written: attempt by attempt, each in the order of time.

    A rollback is no row of its own here: it marks what it has undone. Raises RunError as `joined_metrics`.
    """
    if not (run / "attempts").is_dir():
        raise RunError(f"{run / 'attempts'}: is not there; expected the directory of a training run")
    until = {link.number: link.until for link in attempts.chain(run)}
    rows: list[dict[str, Any]] = []
    standing: list[int] = []  # indices into rows, of steps that never fall
    for number in attempts.numbers(run):
        last = until.get(number, 0)  # an attempt outside the chain has no step that counts
        for row in _rows(attempts.folder(run, number) / METRICS):
            if rollback := row.get("rollback"):
                while number in until and standing and rows[standing[-1]]["step"] > rollback["to"]:
                    standing.pop()
                continue
            if last is None or row["step"] <= last:
                standing.append(len(rows))
            rows.append(row)
    stand = set(standing)
    return [MetricsRow(row, index not in stand) for index, row in enumerate(rows)]


def joined_metrics(run: Path) -> list[dict[str, Any]]:
    """The steps and evaluations of the run as it stands, each once, over all attempts; none before its first.

    Raises RunError when there is no run, or a file is damaged.
    """
    return [row for row, undone in all_metrics(run) if not undone]


def joined_samples(run: Path) -> list[dict[str, Any]]:
    """What the checkpoints of the run as it stands have written: {"step", "prompt", "text"}."""
    return [
        row
        for link in reversed(attempts.chain(run))
        for row in _rows(attempts.folder(run, link.number) / SAMPLES)
        if link.until is None or row["step"] <= link.until
    ]


def display_name(run: Path) -> str:
    """What people call a run: its directory, with the fine-tuning's before a seed of it.

    >>> display_name(Path("/runs/gpt1")), display_name(Path("/runs/sst2/seed-0"))
    ('gpt1', 'sst2-seed-0')
    """
    return f"{run.parent.name}-{run.name}" if run.name.startswith("seed-") else run.name


def read_summary(run: Path) -> dict[str, Any]:
    """How the newest attempt ended; empty before that. Raises RunError when the file is damaged."""
    path = attempts.latest_file(run, "summary.json")
    summary: dict[str, Any] = read_json(path) if path else {}
    return summary


def read_json(path: Path) -> Any:
    """A JSON file. Raises RunError when it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}): restore it from a copy, or remove it") from None


def whole_lines(path: Path) -> list[Any]:
    """All whole lines of a file of JSON lines, which may be missing or growing. Raises RunError."""
    try:
        *lines, _ = path.read_text().split("\n") if path.exists() else [""]
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}): restore it from a copy, or remove it") from None


def _rows(path: Path) -> list[dict[str, Any]]:
    """Rows of an attempt's file. Raises RunError when one has no place in the run."""
    rows = whole_lines(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not row.keys() & {"step", "rollback"}:
            raise RunError(f"{path}: line {number} is no row of a run: restore the file from a copy")
    return rows
