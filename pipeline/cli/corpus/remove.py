"""`outbound corpus drop, gc`: remove an increment that is not finished, and what belongs to nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.app import Json, emit
from pipeline.cli.corpus.app import Directory, corpus


@corpus.command()
def drop(
    directory: Directory,
    name: Annotated[str, typer.Argument(help="The increment's name.", show_default=False)],
    json: Json = False,
) -> None:
    """Remove an unfinished increment, so that it can begin anew."""
    from dataprep import lock
    from dataprep.corpus import Corpus

    opened = Corpus.open(directory)
    with lock.alone(directory):
        path = opened.drop(name)
    emit({"dropped": path.name}, json, f"{path}: dropped")


@corpus.command()
def gc(
    directory: Directory,
    builds: Annotated[str, typer.Option(help="Which builds to keep: all, or only the current one.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, no more.")] = False,
    json: Json = False,
) -> None:
    """Remove what no record names: leftovers of killed commands and, on request, old builds."""
    from dataprep import gc as garbage
    from dataprep import lock
    from dataprep.corpus import Corpus
    from pipeline.errors import UsageError

    if builds not in ("all", "current"):
        raise UsageError(f"--builds {builds}: all or current")
    opened = Corpus.open(directory)
    with lock.alone(directory):
        found = garbage.find(opened, builds == "current")
        if not dry_run:
            garbage.remove(found)
    freed = sum(each.bytes for each in found)
    paths = [str(each.path.relative_to(directory)) for each in found]
    lines = [f"{path}: {each.why}" for path, each in zip(paths, found, strict=True)]
    lines.append(f"{freed:,} bytes in {len(found):,} places {'would be' if dry_run else 'are'} free")
    emit({"removed": paths, "bytes": freed, "dry_run": dry_run}, json, "\n".join(lines))
