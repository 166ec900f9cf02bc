"""`outbound corpus sample`: read some of what was kept or dropped."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from pipeline.cli.app import Json, emit
from pipeline.cli.corpus.app import Directory, corpus, reading

EXCERPT = 400
"""Characters of a text that are shown."""


@corpus.command()
def sample(
    directory: Directory,
    verdict: Annotated[
        str, typer.Option(help="`kept`, `dropped`, or a reason of the funnel, such as min_words.")
    ] = "kept",
    number: Annotated[int, typer.Option("--n", min=1, help="Documents to draw.")] = 10,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Draw the same again.", show_default="another each time")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print whole texts.")] = False,
    json: Json = False,
) -> None:
    """Draw random documents that were kept or dropped, each with the number that decided."""
    from dataprep.audit.sample import sample as drawn

    seed = secrets.randbelow(1 << 32) if seed is None else seed
    with reading(directory) as opened:
        count, documents = drawn(opened, verdict, number, seed)
    lines = [f"{len(documents)} of {count:,} documents, verdict {verdict}; --seed {seed} draws them again"]
    for document in documents:
        lines += ["", *_lines(document, show)]
    result = {"verdict": verdict, "count": count, "seed": seed, "documents": documents}
    emit(result, json, "\n".join(lines))


def _lines(document: dict[str, Any], show: bool) -> Iterator[str]:
    """A document for people: what decided, what is known of it, and its text."""
    from dataprep.audit.sample import decided, excerpt

    yield f"{document['doc_id']}  {decided(document)}"
    words = f"{document['words']:,} words, {document['language']}"
    karma = "" if document["karma"] is None else f", karma {document['karma']}"
    yield f"  {document['url'] or '-'}  {words}{karma}"
    text = excerpt(document["text"], None if show else EXCERPT)
    yield from (f"  | {line}" for line in text.splitlines() if line.strip())
