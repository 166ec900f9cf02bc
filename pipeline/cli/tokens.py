"""`outbound tokenizer`: train a tokenizer, or look at one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit, progress
from pipeline.cli.corpus.app import reading
from pipeline.cli.places import refuse_mixing

tokenizer = typer.Typer(name="tokenizer", help="Train a tokenizer, or look at one.", no_args_is_help=True)
app.add_typer(tokenizer)

Directory = Annotated[Path, typer.Argument(help="The corpus's directory.", show_default=False)]
Files = Annotated[Path, typer.Argument(help="The tokenizer's directory.", show_default=False)]


@tokenizer.command()
def train(
    directory: Directory,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where its files go.", show_default=False)],
    vocab_size: Annotated[
        int, typer.Option(min=257, help="Ids in all, with the bytes and <|endoftext|>.")
    ] = 50257,
    sample_mb: Annotated[
        float,
        typer.Option(min=0, help="About how much text to train on, in MB; documents are drawn by doc_id."),
    ] = 512,
    json: Json = False,
) -> None:
    """Train byte-level BPE on the current build, in GPT-2's file format."""
    from dataprep.tokenizer.tokenizer import load
    from dataprep.tokenizer.train import sample
    from dataprep.tokenizer.train import train as run

    refuse_mixing(output, "a tokenizer")
    with reading(directory) as corpus:
        build = corpus.current_build()
        documents = sum(part.passed for part in build.parts("shard"))
        with progress("tokenizer", documents, "documents") as tick:
            size = run(sample(corpus, build, int(sample_mb * 1e6), tick), vocab_size, output)
    fingerprint = load(output).fingerprint
    emit(
        {"tokenizer": str(output), "vocab_size": size, "fingerprint": fingerprint},
        json,
        f"{output}: a tokenizer of {size:,} ids",
    )


@tokenizer.command()
def info(directory: Files, json: Json = False) -> None:
    """Say what a tokenizer is, and that its files agree."""
    from dataprep.tokenizer.tokenizer import load

    loaded = load(directory)
    loaded.huggingface()
    result = {"files": loaded.files, "vocab_size": loaded.vocab_size, "eot": loaded.eot}
    text = "\n".join(
        [
            f"{loaded.vocab_size:,} ids from {' and '.join(loaded.files)}",
            f"a document ends with {loaded.eot}",
            f"fingerprint {loaded.fingerprint}",
        ]
    )
    emit(result | {"fingerprint": loaded.fingerprint}, json, text)


@tokenizer.command()
def encode(
    directory: Files,
    text: Annotated[str, typer.Argument(help="The text.", show_default="standard input")] = "",
    json: Json = False,
) -> None:
    """Print the ids of a text."""
    from dataprep.tokenizer.tokenizer import load

    ids = load(directory).encode(text or sys.stdin.read())
    emit({"ids": ids}, json, " ".join(map(str, ids)))


@tokenizer.command()
def decode(
    directory: Files,
    ids: Annotated[list[int], typer.Argument(help="Ids.", show_default=False)],
    json: Json = False,
) -> None:
    """Print the text of ids."""
    from dataprep.tokenizer.tokenizer import load, refuse_unknown

    loaded = load(directory)
    refuse_unknown(loaded, ids)
    text = loaded.decode(ids)
    emit({"text": text}, json, text)
