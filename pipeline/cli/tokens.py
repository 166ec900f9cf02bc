"""`outbound tokenizer` and `outbound pack`: from text to token shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit, progress

tokenizer = typer.Typer(name="tokenizer", help="Train a tokenizer on a corpus.", no_args_is_help=True)
app.add_typer(tokenizer)

Directory = Annotated[Path, typer.Argument(help="The corpus's directory.", show_default=False)]


@tokenizer.command()
def train(
    directory: Directory,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the two files go.", show_default=False)
    ],
    vocab_size: Annotated[int, typer.Option(help="Ids in all, with the bytes and <|endoftext|>.")] = 50257,
    json: Json = False,
) -> None:
    """Train byte-level BPE on the current build, in GPT-2's file format."""
    from collections.abc import Iterator

    from dataprep.builds.text_shards import read_documents
    from dataprep.corpus import Corpus
    from dataprep.tokens import tokenizer as bpe

    corpus = Corpus.open(directory)
    records = corpus.current_build().records("text")
    with progress("tokenizer", sum(record.passed for record in records), "documents") as tick:

        def texts() -> Iterator[str]:
            for record in records:
                for document in read_documents(corpus.root / record.outputs[0].path):
                    tick(1)
                    yield document["text"]

        size = bpe.train(texts(), vocab_size, output)
    fingerprint = bpe.load(output).fingerprint
    emit(
        {"tokenizer": str(output), "vocab_size": size, "fingerprint": fingerprint},
        json,
        f"{output}: a tokenizer of {size:,} ids",
    )


@app.command()
def pack(
    directory: Directory,
    tokenizer: Annotated[Path, typer.Option(help="A tokenizer's directory.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the token shards go.", show_default=False)
    ],
    block_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a tar's member.")] = 1 << 20,
    shard_blocks: Annotated[int, typer.Option(min=1, help="Members of a tar.")] = 256,
    held_out: Annotated[
        float, typer.Option(min=0, max=1, help="Share of URLs held out for validation.")
    ] = 0.005,
    json: Json = False,
) -> None:
    """Tokenise the current build into token shards; only what is new since the last pack."""
    from dataprep import lock
    from dataprep.corpus import Corpus
    from dataprep.tokens.pack import Layout
    from dataprep.tokens.pack import pack as run

    corpus = Corpus.open(directory)
    build = corpus.current_build()
    layout = Layout(block_tokens, shard_blocks, held_out)
    documents = sum(record.passed for record in build.records("text"))
    with lock.shared(directory), progress("pack", documents, "documents") as tick:
        manifest = run(corpus, build, tokenizer, output, layout, tick)
    splits = manifest["splits"]
    result = {"tokens": str(output), "generation": manifest["generation"]} | {
        name: {key: split[key] for key in ("tokens", "documents", "unigram_entropy_nats")}
        for name, split in splits.items()
    }
    text = "\n".join(
        f"{name:>6}: {s['tokens']:,} tokens of {s['documents']:,} documents" for name, s in splits.items()
    )
    emit(result, json, f"{output}: generation {manifest['generation']}\n{text}")
