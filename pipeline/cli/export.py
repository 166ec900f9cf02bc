"""`outbound export`: a trained model for Hugging Face's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, Trained, app, emit


@app.command()
def export(
    run: Trained,
    out: Annotated[Path, typer.Option("-o", "--out", help="A directory that does not exist yet.")],
    json: Json = False,
) -> None:
    """Write a run's newest checkpoint as a directory that Hugging Face's transformers loads.

    Of a fine-tuned model it is a classifier of transformers, where that computes the same.
    """
    from pipeline.finetune.record import seeds_of

    if seeds_of(run):
        from pipeline.finetune.export import export as export_run
    else:
        from pipeline.inference.export import export as export_run
    result = export_run(run, out)
    emit(result, json, f"{out}: {result['class']} of step {result['step']}")
