"""What the papers report, for comparison: `papers.csv` has a row a number.

Columns: model (a name of `model/presets.py`), size (parameters as the paper prints them), paper, task,
protocol (how it was measured: gpt2, gpt3, lm-eval), shots (a number, or `few`: the paper's K), measure, value
(as printed, with % where it is a share), source, checked (the day on which it was compared with notes that
quote the paper's table; empty: from memory or from another's copy, so that the report marks it). Nobody has
compared a row with the paper itself yet.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from math import log
from pathlib import Path

from model import PRESETS, GPTConfig
from pipeline.eval.tasks import TaskFile
from pipeline.monitor.evaluations import PaperScore

TABLE = Path(__file__).with_name("papers.csv")
PAPER = "paper"
"""A task's protocol where only one paper reports the task."""
PAPERS = ("gpt2", "gpt3")
"""Protocols of papers; any other is a harness's."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published number, as it stands in the table."""

    model: str
    size: str
    paper: str
    task: str
    protocol: str
    shots: str
    measure: str
    value: str
    source: str
    checked: str


@cache
def rows() -> tuple[Row, ...]:
    """All rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(Row(**row) for row in csv.DictReader(file))


def published(
    task: TaskFile, protocol: str, shots: int, measure: str, non_embedding: int
) -> tuple[PaperScore, ...]:
    """The published values of a task, by size; those nearest to a model of so many parameters are marked."""
    found = [
        row
        for row in rows()
        if (row.task, row.measure) == (task.name, measure)
        and (row.protocol == protocol or (protocol == PAPER and row.protocol in PAPERS))
        and (row.shots == str(shots) or (row.shots == "few" and shots == task.few > 1))
    ]
    sizes = {row.model: without_embeddings(PRESETS[row.model]) for row in found}
    nearest = {
        paper: min(
            (row.model for row in found if row.paper == paper), key=lambda m: _apart(sizes[m], non_embedding)
        )
        for paper in {row.paper for row in found}
    }
    scores = (
        PaperScore(
            model=row.paper,
            size=row.size,
            non_embedding=sizes[row.model],
            protocol=row.protocol,
            value=number(row.value),
            source=row.source,
            checked=row.checked,
            nearest=nearest[row.paper] == row.model,
        )
        for row in found
    )
    return tuple(sorted(scores, key=lambda each: (each.model, each.non_embedding)))


def without_embeddings(config: GPTConfig) -> int:
    """Parameters of a model's blocks without gains and biases, which are under 0.2 %.

    It is N of Kaplan et al. (2020), section 2.1.

    >>> without_embeddings(PRESETS["gpt2-small"])
    84934656
    """
    attention = 4 * config.d_model * config.n_head * config.head_width
    return config.n_layer * (attention + 2 * config.d_model * config.ff_width)


def number(printed: str) -> float:
    """A value of the table; what it prints in % is a share.

    >>> number("45.99%"), number("35.13")
    (0.4599, 35.13)
    """
    value = float(printed.removesuffix("%"))
    return round(value / 100, 6) if printed.endswith("%") else value


def _apart(size: int, other: int) -> float:
    """Distance of two sizes as a ratio: 350M is nearer to 760M than to 125M."""
    return abs(log(size / max(other, 1)))
