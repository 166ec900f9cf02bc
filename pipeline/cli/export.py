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
    """Write a run's newest checkpoint, with a model card, as a directory that transformers loads.

    Of a fine-tuned model it is a classifier of transformers, where that computes the same.
    """
    from pipeline.finetune.record import seeds_of

    if seeds_of(run):
        from pipeline.finetune.export import export as export_tuned

        result = export_tuned(run, out)
    else:
        from pipeline.inference.export import export as export_run
        from pipeline.monitor.model_card import run_card

        result = export_run(run, out, run_card)
    emit(result, json, f"{out}: {result['class']} of step {result['step']}")
