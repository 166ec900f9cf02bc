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
    """Write a run's newest checkpoint as a directory that Hugging Face's transformers loads."""
    from pipeline.inference.export import export as export_run

    result = export_run(run, out)
    emit(result, json, f"{out}: {result['class']} of step {result['step']}")
