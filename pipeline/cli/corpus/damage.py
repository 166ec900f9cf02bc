"""What `corpus add` and `corpus import` print at their end: the damage in the files, and the funnel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from pipeline.cli.app import console, emit
from pipeline.cli.corpus.app import table

if TYPE_CHECKING:
    from dataprep.corpus.directory import Increment
    from dataprep.store.file_damage import FileDamage


def show_increment(
    directory: Path, increment: Increment, facts: dict[str, Any], end: str, json: bool
) -> None:
    """Print an increment that is done as far as it was asked for, and the corpus's funnel."""
    from dataprep.audit.funnel import funnel
    from dataprep.audit.status import damage_of

    found = damage_of(increment)
    for damage in found:
        _print(damage)
    counts = funnel(directory)
    name = increment.path.name
    result = {"increment": name, **facts, "damage": [vars(damage) for damage in found]}
    text = f"{name} {end}. The corpus so far:\n{table(counts)}"
    emit(result | {"funnel": [vars(count) for count in counts]}, json, text)


def _print(damage: FileDamage) -> None:
    console.print(
        f"[yellow]{escape(damage.path)}[/]: {damage.bad_lines} of {damage.lines} are damaged"
        + (f"; {damage.stopped}" if damage.stopped else ""),
        highlight=False,
        soft_wrap=True,
    )
    for example in damage.examples:
        console.print(f"  {escape(example)}", highlight=False, soft_wrap=True)
