"""`outbound corpus status, report, trace`: look, draw, follow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, emit
from pipeline.cli.corpus.app import Directory, corpus, reading, table

if TYPE_CHECKING:
    from dataprep.audit.sizes import PackedTokens


Tokens = Annotated[
    Path | None, typer.Option(help="Token shards of the corpus: count the tokens of what is kept, too.")
]


@corpus.command()
def status(directory: Directory, tokens: Tokens = None, json: Json = False) -> None:
    """Show the increments, how far each is, the current build, the funnel, sizes, and what to do next."""
    from dataprep.audit.status import status as found
    from dataprep.crawl.estimate import words

    with reading(directory) as opened:
        now = found(opened, _packed(tokens))
    lines = [f"recipe {now.recipe}, current build {now.build or 'none'}"]
    for state in now.increments:
        done = ", ".join(stage for stage, parts in state.parts.items() if parts)
        lines.append(f"{state.increment}: {'closed' if state.closed else f'unfinished ({done})'}")
        if left := state.crawl:
            lines.append(f"fetch: {left.done} of {left.partitions} partitions done; {words(left.expected)}")
    taken = ", ".join(f"{name} {_size(number)}" for name, number in now.bytes.items())
    signals = ", ".join(f"{number:,} by {signal}" for signal, number in now.opt_outs.items())
    lines += [
        table(now.funnel),
        *([f"kept: {now.kept}"] if now.kept else []),
        *([f"opted out of training: {signals}"] if signals else []),
    ]
    lines += [f"on disk: {taken}", f"next: {now.next}"]
    emit(asdict(now), json, "\n".join(lines))


@corpus.command()
def report(
    directory: Directory,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page.", show_default="DIRECTORY/report.html")
    ] = None,
    tokens: Tokens = None,
    json: Json = False,
) -> None:
    """Draw the corpus on one self-contained HTML page."""
    from dataprep.corpus.known_files import rewriting
    from dataprep.store.files import replace
    from pipeline.monitor.report import gather, render

    page = output or directory / "report.html"
    with reading(directory):
        content = render(gather(directory, packed=_packed(tokens))).encode()
        with rewriting(directory, page):
            replace(page, content)
    emit({"report": str(page)}, json, f"{page}: open it in a browser")


@corpus.command()
def trace(
    directory: Directory,
    what: Annotated[
        str | None,
        typer.Argument(help="A doc_id (32 hex digits), a URL, or a submission's id.", show_default=False),
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Token shards of the corpus: say where in them a document lies.")
    ] = None,
    position: Annotated[
        int | None, typer.Option(min=0, help="Start from this token of them, counted from 0.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split that --position counts in.")] = "train",
    show: Annotated[bool, typer.Option("--show", help="Print the text of the documents, too.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the page as it was archived to stdout, and nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """Follow a document or a token back to its WARC record, URL and submissions, or one of these forth."""
    from dataprep.audit import trace as follow

    with reading(directory) as opened:
        found = follow.find(opened, what, tokens=tokens, split=split, position=position)
        documents = found.get("documents", [found])
        if raw:
            for document in documents:
                sys.stdout.buffer.write(follow.page_of(opened, document))
            return
        if show:
            for document in documents:
                document["shown"] = follow.text_of(opened, document)
        emit(found, json, "\n".join(_indented(found)))


def _packed(tokens: Path | None) -> PackedTokens | None:
    from dataprep.audit.sizes import PackedTokens
    from dataprep.audit.trace import generation

    return PackedTokens.of(tokens, generation(tokens)) if tokens else None


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e5 else f"{number / 1e3:,.1f} KB" if number else "0"


def _indented(value: dict[str, Any] | list[Any], depth: int = 0) -> Iterator[str]:
    """What was traced as lines for people: a name and its value, nested by indentation."""
    items = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    for name, inner in items:
        label = f"{'  ' * depth}{name}" + ("" if name == "-" else ":")
        if isinstance(inner, dict | list) and inner:
            yield label
            yield from _indented(inner, depth + 1)
        else:
            yield f"{label} {'-' if inner in (None, '', []) else inner}"
