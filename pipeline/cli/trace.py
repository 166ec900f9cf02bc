"""`outbound trace`: which documents a step of a run has read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, app, emit

if TYPE_CHECKING:
    from pipeline.train.traced import TracedStep

SHOWN_TOKENS = 80


@app.command()
def trace(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.", show_default=False)],
    step: Annotated[int, typer.Option(min=1, help="A step that it has taken.", show_default=False)],
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            help="A corpus that the tokens were packed from, for links and submissions; repeatable."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the beginning of each text, too.")] = False,
    json: Json = False,
) -> None:
    """Show which documents, links and submissions a step of a training run has read.

    `distinct` counts different ids among the tokens of a document: few in many tokens are a text that repeats
    itself, which can have a large gradient.
    """
    from dataprep.corpus.directory import Corpus
    from pipeline.train.traced import traced_step

    found = traced_step(run, step, SHOWN_TOKENS if show else 0)
    about = _provenance([Corpus.open(each) for each in corpus or []], found)
    pieces = [{**asdict(piece), **about.get(piece.doc_id, {})} for piece in found.pieces]
    result = {"step": step, "metrics": found.metrics, "samples": found.samples, "same": found.same}
    text = "\n".join(_lines(step, found, pieces, bool(corpus)))
    emit(result | {"documents": pieces}, json, text)


def _provenance(corpora: Sequence[Any], found: TracedStep) -> dict[str, dict[str, Any]]:
    """What the corpora know of the documents of a step, by doc_id."""
    from dataprep.audit.provenance import provenance
    from dataprep.store import locks

    doc_ids = {bytes.fromhex(piece.doc_id) for piece in found.pieces if piece.doc_id}
    known: dict[str, dict[str, Any]] = {}
    for corpus in corpora:
        with locks.reading(corpus.root):
            known |= {doc_id.hex(): about for doc_id, about in provenance(corpus, doc_ids).items()}
    return known


def _lines(step: int, found: TracedStep, pieces: list[dict[str, Any]], is_joined: bool) -> Iterator[str]:
    numbers = ", ".join(
        f"{name} {found.metrics[name]:.4g}" for name in ("loss", "grad_norm", "lr") if name in found.metrics
    )
    documents = len({piece["doc_id"] for piece in pieces})
    yield f"step {step}: {numbers}; {found.samples:,} samples of {documents:,} documents"
    if not found.same:
        yield "the tokens have changed since the step has read them: documents were forgotten"
    if not is_joined:
        yield "give --corpus DIR, from which they were packed, to see links and submissions"
    for piece in pieces:
        yield from _piece_lines(piece)


def _piece_lines(piece: dict[str, Any]) -> Iterator[str]:
    from dataprep.audit.sample import excerpt

    source = f" of {piece['source']}" if piece["source"] else ""
    where = f"{piece['tokens']:,} tokens from its token {piece['first']:,} on, {piece['distinct']:,} distinct"
    yield f"sample {piece['sample']}{source}: {piece['doc_id'] or 'forgotten'}: {where}"
    if "url" in piece:
        yield f"    {piece['url'] or '-'}  {excerpt(piece['title'] or '')}"
    for post in piece.get("submissions", []):
        yield f"    submission {post['id']} in {post['subreddit']}, karma {post['score']}"
    if piece["text"]:
        yield f"    | {excerpt(' '.join(piece['text'].split()))}"
