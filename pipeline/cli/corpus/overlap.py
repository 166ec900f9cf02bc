"""`outbound corpus overlap`: how much of evaluation sets a corpus holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus, reading

if TYPE_CHECKING:
    from dataprep.audit.overlap import SetOverlap


@corpus.command()
def overlap(
    directory: Directory,
    sets: Annotated[
        Path, typer.Option(help="A directory of evaluation sets: JSONL, TSV or text.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Where the dirty examples go.", show_default="DIRECTORY/overlap.jsonl"
        ),
    ] = None,
    workers: Workers = CORES,
    json: Json = False,
) -> None:
    """Count the examples of evaluation sets that share an N-gram with a kept document."""
    from dataprep.audit.overlap import overlap as report
    from dataprep.audit.overlap import save_dirty

    with reading(directory) as opened:
        build = opened.current_build()
        found = report(opened, build, sets, workers, progress)
    target = output or directory / "overlap.jsonl"
    dirty = save_dirty(found, target)
    result = {
        "build": build.name,
        "sets": [
            {
                "set": each.name,
                "n": each.n,
                "examples": each.examples,
                "dirty": len(each.dirty),
                "clean": each.clean,
                "short": each.short,
            }
            for each in found
        ],
        "dirty_examples": str(target),
    }
    emit(result, json, f"{_table(found)}\n{target}: the {dirty:,} dirty examples")


def _table(found: list[SetOverlap]) -> str:
    width = max(len(each.name) for each in found)
    lines = [f"{'set':<{width}}   N  examples     dirty     clean     short  dirty %"]
    for each in found:
        share = 100 * len(each.dirty) / max(each.examples, 1)
        lines.append(
            f"{each.name:<{width}}  {each.n:>2}  {each.examples:>8,}  {len(each.dirty):>8,}  {each.clean:>8,}"
            f"  {each.short:>8,}  {share:>7.2f}"
        )
    return "\n".join([*lines, "short: of fewer than N words, so they count as clean"])
