"""What the `outbound corpus` commands share: their group, their common arguments, the table of a funnel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import app

if TYPE_CHECKING:
    from dataprep.audit.funnel import StageCount
    from dataprep.corpus.directory import Corpus

corpus = typer.Typer(name="corpus", help="Build a corpus, increment by increment.", no_args_is_help=True)
app.add_typer(corpus)

Directory = Annotated[Path, typer.Argument(help="The corpus's directory.", show_default=False)]
Workers = Annotated[int, typer.Option(min=1, help="Processes that work side by side.", show_default="cores")]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def reading(directory: Path) -> Iterator[Corpus]:
    """Open a corpus to read it, while nothing is removed from it."""
    from dataprep.corpus.directory import Corpus
    from dataprep.store import locks

    opened = Corpus.open(directory)
    with locks.reading(directory):
        yield opened


def table(counts: list[StageCount]) -> str:
    """The funnel for people; a stage that nothing entered is left out."""
    lines = []
    for count in (count for count in counts if count.entered):
        lines.append(f"{count.stage:>8}  {count.entered:>9,} {count.unit}, {count.passed:,} passed")
        lines += [f"{'':>8}  {-n:>9,} {reason}" for reason, n in count.reasons.items()]
        if count.truncated:
            lines.append(
                f"{'':>8}  {count.truncated:>9,} of the passed cut off by an archive (WARC-Truncated)"
            )
    return "\n".join(lines)
