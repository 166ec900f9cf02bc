"""`outbound generate` and `outbound export`: what a trained model is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit

Trained = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run, or a directory that transformers loads.")
]


@app.command()
def generate(
    run: Trained,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="The text to continue; none begins a document. May be given several times."),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw among the K likeliest only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw among the likeliest that sum to P only.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same text.")] = 0,
    beams: Annotated[
        int | None, typer.Option(min=1, help="Draw nothing: search the likeliest text with N beams.")
    ] = None,
    length_penalty: Annotated[
        float, typer.Option(min=0, help="With --beams: 0 for none; above, longer texts score better.")
    ] = 0.6,
    stop: Annotated[
        list[str] | None, typer.Option(help="End a text before this string. May be given several times.")
    ] = None,
    json: Json = False,
) -> None:
    """Write text with a run's newest checkpoint."""
    from model.beam import Beam
    from model.generate import Sampling
    from pipeline.errors import UsageError
    from pipeline.inference.generate import generate_texts

    try:
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        how = sampling if beams is None else Beam(beams, length_penalty)
    except ValueError as error:
        raise UsageError(str(error)) from None
    result = generate_texts(run, prompt or [""], max_tokens, how, stops=stop or [])
    emit({"run": str(run), **result}, json, "\n\n".join(t["prompt"] + t["text"] for t in result["texts"]))


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
