"""What was wrong with the files of an increment, told on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from pipeline.cli.app import console

if TYPE_CHECKING:
    from dataprep.corpus.directory import Increment


def damages_of(increment: Increment) -> list[dict[str, Any]]:
    """What was wrong with the dumps of an increment, or with the files that it was imported from."""
    from dataprep.corpus.directory import FACTS

    dumps = [
        damage
        for record in increment.records("links")
        for damage in record.notes.get("dumps", [])
        if damage["bad_lines"] or damage["stopped"]
    ]
    losses = {  # of a file in several partitions, the last count stands for all before it
        loss["path"]: loss
        for record in [r for stage in FACTS for r in increment.records(stage)]
        for loss in record.notes.get("losses", [])
    }
    return dumps + [
        {
            "path": loss["path"],
            "lines": loss["rows"],
            "bad_lines": loss["bad"],
            "examples": loss["examples"],
            "stopped": loss["stopped"],
        }
        for loss in losses.values()
    ]


def tell(damage: dict[str, Any]) -> None:
    console.print(
        f"[yellow]{escape(damage['path'])}[/]: {damage['bad_lines']} of {damage['lines']} are damaged"
        + (f"; {damage['stopped']}" if damage["stopped"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    for example in damage["examples"]:
        console.print(f"  {escape(example)}", highlight=False, soft_wrap=True)
