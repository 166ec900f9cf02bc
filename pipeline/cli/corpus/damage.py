"""What was wrong with the files of an increment, told on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from pipeline.cli.app import console

if TYPE_CHECKING:
    from dataprep.corpus.directory import Increment
    from dataprep.store.file_damage import FileDamage


def damages_of(increment: Increment) -> list[FileDamage]:
    """What was wrong with the dumps of an increment, or with the files that it was imported from.

    Of a file in several partitions, the last count stands for all before it.
    """
    from dataprep.steps import STEPS
    from dataprep.store.file_damage import InputNotes

    facts = [step.name for step in STEPS if step.at == "facts"]
    records = [record for step in facts for record in increment.records(step)]
    return list(
        {damage.path: damage for record in records for damage in record.noted(InputNotes).damage}.values()
    )


def tell(damage: FileDamage) -> None:
    console.print(
        f"[yellow]{escape(damage.path)}[/]: {damage.bad_lines} of {damage.lines} are damaged"
        + (f"; {damage.stopped}" if damage.stopped else ""),
        highlight=False,
        soft_wrap=True,
    )
    for example in damage.examples:
        console.print(f"  {escape(example)}", highlight=False, soft_wrap=True)
