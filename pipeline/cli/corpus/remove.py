"""`outbound corpus drop, gc, forget`: remove what is unfinished, what belongs to nothing, what must go."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import Directory, corpus


class Builds(StrEnum):
    """The builds that `corpus gc` keeps."""

    all = "all"
    current = "current"


@corpus.command()
def drop(
    directory: Directory,
    name: Annotated[str, typer.Argument(help="The increment's name.", show_default=False)],
    json: Json = False,
) -> None:
    """Remove an unfinished increment, so that it can begin anew."""
    from dataprep.corpus.directory import Corpus
    from dataprep.store import locks

    opened = Corpus.open(directory)
    with locks.alone(directory):
        path = opened.drop(name)
    emit({"dropped": path.name}, json, f"{path}: dropped")


@corpus.command()
def gc(
    directory: Directory,
    builds: Annotated[
        Builds, typer.Option(help="Which builds to keep: all, or only the current one.")
    ] = Builds.all,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, no more.")] = False,
    json: Json = False,
) -> None:
    """Remove what no record names: leftovers of killed commands and, on request, old builds."""
    from dataprep.audit import gc as garbage
    from dataprep.corpus.directory import Corpus
    from dataprep.store import locks

    opened = Corpus.open(directory)
    with locks.alone(directory):
        found = garbage.find(opened, only_current_build=builds is Builds.current)
        if not dry_run:
            garbage.remove(found)
    freed = sum(garbage.bytes for garbage in found)
    paths = [str(garbage.path.relative_to(directory)) for garbage in found]
    lines = [f"{path}: {garbage.why}" for path, garbage in zip(paths, found, strict=True)]
    lines.append(f"{freed:,} bytes in {len(found):,} places {'would be' if dry_run else 'are'} free")
    emit({"removed": paths, "bytes": freed, "dry_run": dry_run}, json, "\n".join(lines))


@corpus.command()
def forget(
    directory: Directory,
    url: Annotated[str | None, typer.Option(help="A URL, and what was fetched from it.")] = None,
    site: Annotated[str | None, typer.Option(help="A registrable domain, such as example.org.")] = None,
    submission: Annotated[
        str | None, typer.Option(help="A submission's id, and the link that stands by it.")
    ] = None,
    tokens: Annotated[
        list[Path] | None, typer.Option(help="Token shards of the corpus, to forget in; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove a URL, a site or a submission from every layer, and keep it out for good.

    Killed, it is finished by the same command, or by one without anything to forget; until then all other
    commands refuse the corpus. Exports, tokenizers and models that were made of it lie outside.
    """
    from dataprep.corpus.directory import Corpus
    from dataprep.forget.command import Asked, forget

    asked = Asked.of(url=url, site=site, submission=submission)
    removed = forget(Corpus.open(directory, forgetting=True), asked, tokens or [], progress)
    if not removed.anything:
        lines = ["nothing new"]
    elif removed.links or removed.lists:
        lines = [f"forgotten, and kept out: {removed.links:,} links, {removed.documents:,} documents"]
    else:
        lines = ["nothing of it is in this corpus; it is kept out from now on"]
    if removed.lists:
        lines.append(f"{removed.lists:,} links stay without the submission")
    lines += [f"{name}: {number:,} documents are end-of-text" for name, number in removed.tokens.items()]
    if removed.documents and not removed.tokens:
        lines.append("token shards that were packed before still hold it: give them as --tokens")
    result = {"links": removed.links, "documents": removed.documents, "tokens": removed.tokens}
    emit(result, json, "\n".join(lines))
