"""`outbound corpus status, verify, report, trace`: look, check, draw, follow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import Directory, corpus, table
from pipeline.cli.corpus.damage import damages_of


@corpus.command()
def status(directory: Directory, json: Json = False) -> None:
    """Show the increments, how far each is, the current build, and the funnel."""
    from dataprep.corpus import FACTS, Corpus
    from dataprep.funnel import funnel

    opened = Corpus.open(directory)
    increments = [
        {
            "increment": increment.path.name,
            "closed": increment.closed,
            "parts": {stage: len(increment.records(stage)) for stage in FACTS},
            "damage": damages_of(increment),
        }
        for increment in opened.increments()
    ]
    build = opened.current_build().name if opened.has_build else None
    counts = funnel(directory)
    lines = [f"recipe {opened.recipe.name}, current build {build or 'none'}"]
    for each, increment in zip(increments, opened.increments(), strict=True):
        done = ", ".join(stage for stage in FACTS if increment.records(stage))
        lines.append(f"{each['increment']}: {'closed' if increment.closed else f'unfinished ({done})'}")
    result = {
        "recipe": opened.recipe.name,
        "build": build,
        "increments": increments,
        "funnel": [vars(count) for count in counts],
    }
    emit(result, json, "\n".join([*lines, table(counts)]))


@corpus.command()
def verify(directory: Directory, json: Json = False) -> None:
    """Check the hash of every file and that the counts add up; exits 1 when something is wrong."""
    from dataprep.corpus import Corpus
    from dataprep.verify import files, problems

    opened = Corpus.open(directory)
    found = []
    with progress("verify", len(files(opened)), "files") as tick:
        found = list(problems(opened, tick))
    emit({"problems": found}, json, "\n".join(found) if found else "every file and every count is right")
    if found:
        raise typer.Exit(1)


@corpus.command()
def report(
    directory: Directory,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page.", show_default="DIRECTORY/report.html")
    ] = None,
    json: Json = False,
) -> None:
    """Draw the corpus on one self-contained HTML page."""
    from pipeline.report import gather, render

    page = output or directory / "report.html"
    page.write_text(render(gather(directory)), encoding="utf-8")
    emit({"report": str(page)}, json, f"{page}: open it in a browser")


@corpus.command()
def trace(
    directory: Directory,
    doc_id: Annotated[str, typer.Argument(help="A document's id: 32 hex digits.", show_default=False)],
    json: Json = False,
) -> None:
    """Follow a document back to its WARC record, its URL and the submissions that posted it."""
    from dataprep.corpus import Corpus
    from dataprep.trace import trace as follow

    found = follow(Corpus.open(directory), doc_id)
    emit(found, json, "\n".join(f"{key}: {value}" for key, value in found.items()))
