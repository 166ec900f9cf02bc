"""`outbound corpus export`: hand the kept documents over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus
from pipeline.cli.places import refuse_mixing


@corpus.command()
def export(
    directory: Directory,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the files go.", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="parquet or jsonl.")] = "parquet",
    mask: Annotated[
        str, typer.Option(help="What to mask in texts and titles: email, ip or both, with a comma.")
    ] = "",
    columns: Annotated[str, typer.Option(help="Columns to write, with commas.", show_default="all")] = "",
    build: Annotated[str, typer.Option(help="The beginning of a build's name.")] = "current",
    workers: Workers = CORES,
    json: Json = False,
) -> None:
    """Write the kept documents of a build as Parquet or JSON lines, with a data card (README.md).

    Run again to go on where it stopped.
    """
    from dataprep.audit.card import write_data_card
    from dataprep.corpus.directory import Corpus
    from dataprep.shards.export import Shape, refuse_within
    from dataprep.shards.export import export as write
    from dataprep.store import locks

    opened = Corpus.open(directory)
    chosen = opened.find_build(build)
    refuse_within(opened, output)
    refuse_mixing(output, "an export")
    shape = Shape.of(form, columns=columns, mask=mask)
    with locks.reading(directory):
        manifest = write(opened, chosen, output, shape, workers, progress)
        card = write_data_card(opened, chosen, output, manifest)
    masked = ", ".join(f"{number:,} {kind}" for kind, number in manifest["masked"].items())
    text = f"{output}: {manifest['documents']:,} documents in {len(manifest['files']):,} files"
    text += f", masked: {masked}" if masked else ""
    emit({"output": str(output), **manifest, "card": str(card)}, json, f"{text}\ndata card: {card}")
