"""`outbound corpus import`: bring archives, books and tables in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataprep.errors import UsageError
from pipeline.cli.app import Json, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus
from pipeline.cli.corpus.damage import show_increment


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
    date_field: Annotated[
        str, typer.Option(help="The one with the date, if any; copies of a text are compared by it.")
    ] = "date",
    date: Annotated[
        str,
        typer.Option(
            help="The date (2013-08-01) of what has none. Without it, what has no date goes by the order of "
            "imports."
        ),
    ] = "",
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
    from dataprep.corpus.directory import Corpus
    from dataprep.imports.byte_ranges import Archive
    from dataprep.imports.dates import seconds
    from dataprep.imports.rows import Fields
    from dataprep.imports.stage import increment_name, refuse_unknown
    from dataprep.store import locks

    refuse_unknown(kind)
    undated = seconds(date)
    if date and not undated:
        raise UsageError(f"--date {date}: is no date; give one such as 2013-08-01 or 2013-08-01T12:00:00Z")
    if date and kind == "cdx":
        raise UsageError("--date: is not for cdx, because the links have the dates of their submissions")
    opened = Corpus.open(directory, remaking=True)
    archive = None
    if kind == "cdx":
        archive = Archive.of(base, contact=contact, concurrency=concurrency, delay_s=delay)
    with locks.shared(directory):
        increment = ingest.bring(
            opened,
            name or increment_name(opened, kind, files),
            kind=kind,
            paths=files,
            fields=Fields(
                text=text_field, url=url_field, title=title_field, date=date_field, undated=undated
            ),
            archive=archive,
            workers=workers,
            progress=progress,
        )
    show_increment(directory, increment, {"kind": kind}, "is in", json)
