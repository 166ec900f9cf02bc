"""`outbound corpus train-quality`: GPT-3's quality classifier, trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus.app import corpus

Sources = Annotated[
    list[Path],
    typer.Option(help="A corpus, or a file of text or JSON lines; may be repeated.", show_default=False),
]


@corpus.command("train-quality")
def train_quality(
    good: Sources,
    bad: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model.", show_default=False)],
    samples: Annotated[int, typer.Option(min=20, help="Most samples of a side.")] = 100_000,
    json: Json = False,
) -> None:
    """Train the classifier of GPT-3's appendix A: is a text like the good ones, or like the bad?

    Of a good corpus it takes what the current build keeps, of a bad one every document. The model goes into a
    corpus with `corpus init --quality`.
    """
    from dataprep.score.quality import model
    from dataprep.score.quality.training import EPOCHS, train
    from dataprep.train_quality import gather

    with progress("read", None, "texts") as tick:
        liked, raw = gather(good, True, samples, tick), gather(bad, False, samples, tick)
    with progress("train", EPOCHS, "epochs") as tick:
        trained = train(liked, raw, tick)
    result = {
        "model": str(output),
        "xxh3_128": model.save(trained, output),
        "trained_on": trained.trained_on,
        "held_out": trained.held_out,
        "accuracy": trained.accuracy,
        "auc": trained.auc,
    }
    emit(
        result,
        json,
        f"{output}: trained on {trained.trained_on[0]:,} good and {trained.trained_on[1]:,} bad samples; on "
        f"{trained.held_out[0]:,} and {trained.held_out[1]:,} held-out ones accuracy {trained.accuracy:.4f}, "
        f"AUC {trained.auc:.4f}",
    )
