"""`outbound corpus import`: the other doors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus, table
from pipeline.cli.corpus.damage import damages_of, tell


@corpus.command(name="import")
def import_(
    directory: Directory,
    files: Annotated[list[Path], typer.Argument(help="Files, or folders of them.", show_default=False)],
    kind: Annotated[
        str, typer.Option(help="What they are: warc, cdx, wet, text, jsonl or parquet.", show_default=False)
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="The increment's name.", show_default="the first file's; for cdx, that with open links"
        ),
    ] = None,
    text_field: Annotated[str, typer.Option(help="The field or column with the text.")] = "text",
    url_field: Annotated[str, typer.Option(help="The one with the URL, if any.")] = "url",
    title_field: Annotated[str, typer.Option(help="The one with the title, if any.")] = "title",
    date_field: Annotated[str, typer.Option(help="The one with the date, if any.")] = "date",
    base: Annotated[
        str, typer.Option(help="For cdx: a URL or folder, where the files that the index names are.")
    ] = "",
    contact: Annotated[
        str, typer.Option(help="For cdx: an e-mail address or page for the archive's operators.")
    ] = "",
    concurrency: Annotated[int, typer.Option(min=1, help="For cdx: requests under way at once.")] = 4,
    delay: Annotated[float, typer.Option(min=0, help="For cdx: seconds between two requests.")] = 0.1,
    workers: Workers = CORES,
    json: Json = False,
) -> None:
    """Import files of pages or texts as an increment; run again to go on where it stopped."""
    from dataprep import ingest
    from dataprep.audit.funnel import funnel
    from dataprep.corpus.directory import Corpus
    from dataprep.crawl.settings import CrawlSettings
    from dataprep.imports.byte_ranges import Archive
    from dataprep.imports.rows import Fields
    from dataprep.imports.stage import KINDS
    from dataprep.store import locks
    from pipeline.errors import UsageError

    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: one of {', '.join(KINDS)}")
    for file in files:
        if not file.exists():
            raise UsageError(f"{file}: no such file or folder")
    opened = Corpus.open(directory)
    archive = None
    if kind == "cdx":
        if not base:
            raise UsageError(
                "--kind cdx: where are the files that the index names? give --base URL or FOLDER"
            )
        polite = CrawlSettings(contact=contact, site_concurrency=concurrency, delay_s=delay, retries=2)
        archive = Archive(base, polite)
        name = name or next((each.name for each in opened.increments() if not each.closed), None)
    with locks.shared(directory):
        increment = ingest.bring(
            opened,
            name or files[0].resolve().name.split(".")[0],
            kind,
            files,
            Fields(text_field, url_field, title_field, date_field),
            archive,
            workers,
            progress,
        )
    damages = damages_of(increment)
    for damage in damages:
        tell(damage)
    counts = funnel(directory)
    result = {"increment": increment.path.name, "kind": kind, "damage": damages}
    emit(
        result | {"funnel": [vars(count) for count in counts]},
        json,
        f"{increment.path.name} is in. The corpus so far:\n{table(counts)}",
    )
