"""What was wrong with the dumps of an increment, told on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from pipeline.cli.app import console

if TYPE_CHECKING:
    from dataprep.corpus import Increment


def damages_of(increment: Increment) -> list[dict[str, Any]]:
    """What was wrong with the dumps of an increment."""
    return [
        damage
        for record in increment.records("links")
        for damage in record.notes.get("dumps", [])
        if damage["bad_lines"] or damage["stopped"]
    ]


def tell(damage: dict[str, Any]) -> None:
    console.print(
        f"[yellow]{escape(damage['path'])}[/]: "
        f"{damage['bad_lines']} of {damage['lines']} lines are no submissions"
        + (f"; {damage['stopped']}" if damage["stopped"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    for example in damage["examples"]:
        console.print(f"  {escape(example)}", highlight=False, soft_wrap=True)
