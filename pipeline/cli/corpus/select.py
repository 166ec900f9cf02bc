"""`outbound corpus select, score`: another build from the same facts, and measurements anew."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus, table


@corpus.command()
def select(
    directory: Directory,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe's select section, a.b=c.")
    ] = None,
    workers: Workers = CORES,
    json: Json = False,
) -> None:
    """Make another build from the same facts; no page is extracted again."""
    from dataprep import ingest
    from dataprep.audit.funnel import funnel
    from dataprep.corpus.directory import Corpus
    from dataprep.corpus.recipe import overridden
    from dataprep.store import locks

    opened = Corpus.open(directory)
    recipe = opened.recipe.model_copy(update={"select": overridden(opened.recipe.select, overrides or [])})
    with locks.shared(directory):
        build = ingest.extend(Corpus(opened.root, recipe), workers, progress)
    counts = funnel(directory)
    result = {"build": build.name, "funnel": [vars(count) for count in counts]}
    emit(result, json, f"{build.path} is the current build.\n{table(counts)}")


@corpus.command()
def score(directory: Directory, workers: Workers = CORES, json: Json = False) -> None:
    """Measure documents anew that another version of outbound scored; removes the builds that judged them."""
    from dataprep.corpus.directory import Corpus
    from dataprep.rescore import rescore
    from dataprep.store import requests

    opened = Corpus.open(directory)
    with requests.alone(directory):
        measured = [increment.path.name for increment in rescore(opened, workers, progress)]
    message = f"measured anew: {', '.join(measured)}; now run `outbound corpus select {directory}`"
    emit({"measured": measured}, json, message if measured else "all scores are of this version")
