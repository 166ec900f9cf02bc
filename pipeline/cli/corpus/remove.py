"""`outbound corpus drop, gc, forget`: remove what is unfinished, what belongs to nothing, what must go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import Directory, corpus

if TYPE_CHECKING:
    from dataprep.corpus.directory import Corpus
    from dataprep.store.records import Record


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
    builds: Annotated[str, typer.Option(help="Which builds to keep: all, or only the current one.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, no more.")] = False,
    json: Json = False,
) -> None:
    """Remove what no record names: leftovers of killed commands and, on request, old builds."""
    from dataprep.corpus import gc as garbage
    from dataprep.corpus.directory import Corpus
    from dataprep.store import locks
    from pipeline.errors import UsageError

    if builds not in ("all", "current"):
        raise UsageError(f"--builds {builds}: all or current")
    opened = Corpus.open(directory)
    with locks.alone(directory):
        found = garbage.find(opened, builds == "current")
        if not dry_run:
            garbage.remove(found)
    freed = sum(each.bytes for each in found)
    paths = [str(each.path.relative_to(directory)) for each in found]
    lines = [f"{path}: {each.why}" for path, each in zip(paths, found, strict=True)]
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
    from dataprep.corpus.tombstones import unfinished
    from dataprep.forget import run
    from dataprep.forget import scope as asked
    from dataprep.pack import forget as packed
    from dataprep.store import locks
    from pipeline.errors import UsageError

    if sum(each is not None for each in (url, site, submission)) > 1:
        raise UsageError("one of --url, --site and --submission at a time")
    opened = Corpus.open(directory, forgetting=True)
    with locks.alone(directory):
        if not (url or site or submission or tokens) and unfinished(directory) is None:
            raise UsageError("what? give --url, --site or --submission; nothing is left of an earlier call")
        records = [_carried_out(opened)]
        if url:
            run.begin(opened, asked.of_url(opened, url))
        if site:
            run.begin(opened, asked.of_site(opened, site))
        if submission:
            run.begin(opened, asked.of_submission(opened, submission))
        records.append(_carried_out(opened))
        erased = {}
        for each in tokens or []:
            with locks.alone(each):
                erased[str(each)] = packed.forget(opened, each)
    done = [record for record in records if record]
    documents = sum(record.passed for record in done)
    links, lists = (sum(record.notes[name] for record in done) for name in ("links", "lists"))
    if not done:
        lines = ["nothing new"]
    elif links or lists:
        lines = [f"forgotten, and kept out: {links:,} links, {documents:,} documents"]
    else:
        lines = ["nothing of it is in this corpus; it is kept out from now on"]
    if lists:
        lines.append(f"{lists:,} links stay without the submission")
    lines += [f"{name}: {number:,} documents are end-of-text" for name, number in erased.items()]
    if documents and not erased:
        lines.append("token shards that were packed before still hold it: give them as --tokens")
    emit({"links": links, "documents": documents, "tokens": erased}, json, "\n".join(lines))


def _carried_out(opened: Corpus) -> Record | None:
    from dataprep.corpus.all_records import record_paths
    from dataprep.corpus.tombstones import unfinished
    from dataprep.forget import run

    if unfinished(opened.root) is None:
        return None
    with progress("forget", len(list(record_paths(opened))), "records") as tick:
        return run.finish(opened, tick)
