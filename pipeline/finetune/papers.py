"""What GPT-1's paper reports of its evaluations, for comparison: `papers.csv` has a row a number.

Columns: task (the name of a file in `configs/finetune`, or of a part or mean of them), variant (the paper's
ablations, table 5), measure, value (in percent, as printed), table, checked (the day on which it was compared
with notes that quote the paper; empty: from memory, so that pages mark it). The paper measured GLUE's test
sets, whose labels are not published.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import msgspec

TABLE = Path(__file__).with_name("papers.csv")
SOURCE = "Radford et al. 2018"


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One published number, as it stands in the table."""

    task: str
    variant: str
    measure: str
    value: float
    table: str
    checked: str = ""


@cache
def rows() -> tuple[Published, ...]:
    """All rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(msgspec.convert(row, Published, strict=False) for row in csv.DictReader(file))


def published(task: str | None) -> tuple[Published, ...]:
    """The published numbers of a task; none of a task that the paper does not have."""
    return tuple(row for row in rows() if row.task == task)
