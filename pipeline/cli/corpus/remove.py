"""`outbound corpus drop, gc, forget`: remove what is unfinished, what belongs to nothing, what must go."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import Directory, corpus

if TYPE_CHECKING:
    from dataprep.forget.command import Removed

SHOWN_URLS = 20
"""URLs that --dry-run prints for people."""


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
    from dataprep.store import requests

    opened = Corpus.open(directory, damaged=True)
    with requests.alone(directory):
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
    from dataprep.store import requests

    opened = Corpus.open(directory)
    with requests.alone(directory):
        found = garbage.find(opened, only_current_build=builds is Builds.current)
        if not dry_run:
            garbage.remove(opened, found)
    freed = sum(piece.bytes for piece in found)
    paths = [str(piece.path.relative_to(directory)) for piece in found]
    lines = [f"{path}: {piece.why}" for path, piece in zip(paths, found, strict=True)]
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
    ahead: Annotated[
        bool,
        typer.Option("--ahead", help="Keep out a site, or a public suffix, of which nothing is there yet."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed; change nothing.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back an earlier forget for which nothing was removed.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove a URL, a site or a submission from every layer, and keep it out for good.

    Killed, it is finished by the same command, or by one without anything to forget; until then all other
    commands refuse the corpus. Exports, tokenizers and models that were made of it lie outside.
    """
    from dataprep.corpus.directory import Corpus
    from dataprep.errors import UsageError
    from dataprep.forget import command

    asked = command.Asked.of(url=url, site=site, submission=submission)
    if undo:
        if not asked or tokens or ahead or dry_run:
            raise UsageError("--undo takes one of --url, --site and --submission, and no other option")
        command.undo(Corpus.open(directory, forgetting=True), asked, progress)
        text = f"{asked}: comes in from now on; add what was left out meanwhile as another increment"
        emit({"undone": str(asked)}, json, text)
        return
    urls: list[str] = []
    if dry_run:
        removed, urls = command.preview(Corpus.open(directory), asked, tokens or [], ahead)
    else:
        opened = Corpus.open(directory, forgetting=True)
        removed = command.forget(opened, asked, tokens or [], progress, ahead)
    result = {"links": removed.links, "documents": removed.documents, "tokens": removed.tokens}
    if dry_run:
        result |= {"urls": urls, "dry_run": True}
    emit(result, json, "\n".join(_forgotten_lines(removed, urls, dry_run)))


def _forgotten_lines(removed: Removed, urls: list[str], dry_run: bool) -> Iterator[str]:
    """What was forgotten, or would be, for people."""
    if not removed.anything:
        yield "nothing new"
    elif removed.links or removed.lists:
        done = "would be forgotten, and kept out" if dry_run else "forgotten, and kept out"
        yield f"{done}: {removed.links:,} links, {removed.documents:,} documents"
    else:
        kept = "would be kept out" if dry_run else "is kept out"
        yield f"nothing of it is in this corpus; it {kept} from now on"
    yield from (f"  {url}" for url in urls[:SHOWN_URLS])
    if len(urls) > SHOWN_URLS:
        yield f"  and {len(urls) - SHOWN_URLS:,} more, which --json lists"
    if removed.lists:
        yield f"{removed.lists:,} links {'would ' if dry_run else ''}stay without the submission"
    for name, number in removed.tokens.items():
        yield f"{name}: {number:,} documents {'would be' if dry_run else 'are'} end-of-text"
    if removed.documents and not removed.tokens:
        hold = "would still hold it" if dry_run else "still hold it"
        yield f"token shards that were packed before {hold}: give them as --tokens"
    if dry_run:
        yield "nothing was changed"
