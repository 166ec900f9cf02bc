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
    from dataprep.audit.overlap import overlap as find_overlap
    from dataprep.audit.overlap import save_dirty

    with reading(directory) as opened:
        build = opened.current_build()
        found = find_overlap(opened, build, sets, workers, progress)
    target = output or directory / "overlap.jsonl"
    dirty = save_dirty(found, target)
    result = {
        "build": build.name,
        "sets": [
            {
                "set": report.name,
                "n": report.n,
                "examples": report.examples,
                "dirty": len(report.dirty),
                "clean": report.clean,
                "short": report.short,
            }
            for report in found
        ],
        "dirty_examples": str(target),
    }
    emit(result, json, f"{_table(found)}\n{target}: the {dirty:,} dirty examples")


def _table(found: list[SetOverlap]) -> str:
    width = max(len(report.name) for report in found)
    lines = [f"{'set':<{width}}   N  examples     dirty     clean     short  dirty %"]
    for report in found:
        share = 100 * len(report.dirty) / max(report.examples, 1)
        lines.append(
            f"{report.name:<{width}}  {report.n:>2}  {report.examples:>8,}  {len(report.dirty):>8,}  "
            f"{report.clean:>8,}  {report.short:>8,}  {share:>7.2f}"
        )
    return "\n".join([*lines, "short: of fewer than N words, so they count as clean"])
