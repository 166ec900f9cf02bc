"""`outbound corpus ...`: make a corpus, ingest increments, select, look."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from pipeline.cli.app import Json, app, console, emit, progress

if TYPE_CHECKING:
    from dataprep.corpus import Increment
    from dataprep.funnel import StageCount

corpus = typer.Typer(name="corpus", help="Build a corpus, increment by increment.", no_args_is_help=True)
app.add_typer(corpus)

Directory = Annotated[Path, typer.Argument(help="The corpus's directory.", show_default=False)]
Workers = Annotated[int, typer.Option(min=1, help="Processes that extract and score.", show_default="cores")]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@corpus.command()
def init(
    directory: Directory,
    recipe: Annotated[str, typer.Option(help="A recipe's name or file.")] = "webtext",
    json: Json = False,
) -> None:
    """Make an empty corpus with a recipe."""
    from dataprep.corpus import Corpus
    from dataprep.recipe import load_recipe, select_hash
    from pipeline.configs import find

    made = Corpus.create(directory, load_recipe(find("corpora", recipe)))
    result = {"corpus": str(directory), "recipe": made.recipe.name, "build": select_hash(made.recipe.select)}
    emit(result, json, f"{directory}: a corpus with the recipe {made.recipe.name}")


@corpus.command()
def add(
    directory: Directory,
    dumps: Annotated[list[Path], typer.Argument(help="Dumps of submissions.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="The increment's name.", show_default="the first dump's")
    ] = None,
    workers: Workers = CORES,
    until: Annotated[
        str, typer.Option(help="Stop after this stage: links, fetch, extract, score or select.")
    ] = "select",
    contact: Annotated[
        str, typer.Option(help="An e-mail address or page for webmasters; public hosts need it.")
    ] = "",
    agent: Annotated[str, typer.Option(help="The crawler's name in User-Agent and robots.txt.")] = "outbound",
    delay: Annotated[float, typer.Option(min=0, help="Seconds between two requests to a site.")] = 1.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Sites that are crawled at once.")] = 64,
    hours: Annotated[
        float | None, typer.Option(help="Time budget of the crawl; the rest is deferred.")
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Fetch once more what failed for a temporary reason, here and earlier."
        ),
    ] = False,
    archive: Annotated[
        str, typer.Option(help="Ask this Wayback-style archive for dead links, as of their submission.")
    ] = "",
    archive_first: Annotated[
        bool, typer.Option("--archive-first", help="Ask the archive before the live sites, not after.")
    ] = False,
    connect_to: Annotated[
        list[str] | None,
        typer.Option(help="HOST1:PORT1:HOST2:PORT2, connect there instead, as curl does; may be repeated."),
    ] = None,
    proxy: Annotated[
        str,
        typer.Option(help="http://[NAME:PASSWORD@]HOST:PORT to crawl through; it then resolves the names."),
    ] = "",
    port: Annotated[
        list[int] | None,
        typer.Option(help="A port that URLs may name; may be repeated.", show_default="usual web ports"),
    ] = None,
    allow_loopback: Annotated[
        bool, typer.Option("--allow-loopback", help="Let the crawler connect to this machine.")
    ] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="Certificate authorities to trust beside the system's (PEM).")
    ] = None,
    wandb_project: Annotated[
        str | None, typer.Option(help="Show the crawl in this W&B project; WANDB_MODE=offline works.")
    ] = None,
    json: Json = False,
) -> None:
    """Ingest dumps as an increment; run again to go on where it stopped."""
    from pydantic import ValidationError

    from dataprep import ingest
    from dataprep.corpus import Corpus
    from dataprep.crawl.settings import WEB_PORTS, CrawlSettings
    from dataprep.funnel import funnel
    from pipeline.crawl_view import watching
    from pipeline.errors import UsageError

    if archive_first and not archive:
        raise UsageError("--archive-first: which archive? give --archive URL, too")
    if until not in ingest.STAGES:
        raise UsageError(f"--until {until}: one of {', '.join(ingest.STAGES)}")
    for dump in dumps:
        if not dump.is_file():
            raise UsageError(f"{dump}: no such dump")
    if until != "links" and not allow_loopback and not ("@" in contact or contact.startswith("http")):
        raise UsageError(f"--contact {contact!r}: an e-mail address or a page, for webmasters to complain to")
    opened = Corpus.open(directory)
    limits = opened.recipe.collect.crawl
    try:
        settings = CrawlSettings(
            agent=agent,
            contact=contact,
            delay_s=delay,
            concurrency=concurrency,
            hours=hours,
            archive=archive,
            archive_first=archive_first,
            connect_to=tuple(connect_to or ()),
            proxy=proxy,
            ports=frozenset(port or WEB_PORTS),
            allow_loopback=allow_loopback,
            ca_file=ca_file,
            page_bytes=limits.max_bytes,
            total_s=limits.total_timeout_s,
            max_redirects=limits.max_redirects,
        )
    except ValidationError as error:
        wrong = "; ".join(f"{item['loc'][0]} {item['input']!r}: {item['msg']}" for item in error.errors())
        raise UsageError(f"the crawl cannot work like this: {wrong}") from None
    increment = ingest.add(
        opened,
        name or dumps[0].name.removeprefix("RS_").removeprefix("v2_").split(".")[0],
        dumps,
        settings,
        workers,
        until,
        progress,
        partial(watching, opened.root, wandb_project, console),
        retry_failed,
    )
    damages = _damages(increment)
    for damage in damages:
        _report_damage(damage)
    counts = funnel(directory)
    result = {"increment": increment.path.name, "until": until, "damage": damages}
    end = "is in" if until == "select" else f"is done until {until}"
    emit(
        result | {"funnel": [vars(count) for count in counts]},
        json,
        f"{increment.path.name} {end}.\n{_table(counts)}",
    )


@corpus.command()
def select(
    directory: Directory,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe's select section, a.b=c.")
    ] = None,
    workers: Workers = CORES,
    json: Json = False,
) -> None:
    """Make another build from the same facts; no page is extracted again."""
    from dataprep import ingest
    from dataprep.corpus import Corpus
    from dataprep.funnel import funnel
    from dataprep.recipe import overridden

    opened = Corpus.open(directory)
    chosen = overridden(opened.recipe.select, overrides or [])
    recipe = opened.recipe.model_copy(update={"select": chosen})
    build = ingest.extend(Corpus(opened.root, recipe), workers, progress)
    counts = funnel(directory)
    result = {"build": build.name, "funnel": [vars(count) for count in counts]}
    emit(result, json, f"{build.path} is the current build.\n{_table(counts)}")


@corpus.command()
def status(directory: Directory, json: Json = False) -> None:
    """Show the increments, how far each is, the current build, and the funnel."""
    from dataprep.corpus import FACTS, Corpus
    from dataprep.funnel import funnel

    opened = Corpus.open(directory)
    increments = [
        {
            "increment": increment.path.name,
            "closed": increment.closed,
            "parts": {stage: len(increment.records(stage)) for stage in FACTS},
            "damage": _damages(increment),
        }
        for increment in opened.increments()
    ]
    build = opened.current_build().name if opened.has_build else None
    counts = funnel(directory)
    lines = [f"recipe {opened.recipe.name}, current build {build or 'none'}"]
    for each, increment in zip(increments, opened.increments(), strict=True):
        done = ", ".join(stage for stage in FACTS if increment.records(stage))
        lines.append(f"{each['increment']}: {'closed' if increment.closed else f'unfinished ({done})'}")
    result = {
        "recipe": opened.recipe.name,
        "build": build,
        "increments": increments,
        "funnel": [vars(count) for count in counts],
    }
    emit(result, json, "\n".join([*lines, _table(counts)]))


@corpus.command()
def drop(
    directory: Directory,
    name: Annotated[str, typer.Argument(help="The increment's name.", show_default=False)],
    json: Json = False,
) -> None:
    """Remove an unfinished increment, so that it can begin anew."""
    from dataprep.corpus import Corpus

    path = Corpus.open(directory).drop(name)
    emit({"dropped": path.name}, json, f"{path}: dropped")


@corpus.command()
def verify(directory: Directory, json: Json = False) -> None:
    """Check the hash of every file and that the counts add up; exits 1 when something is wrong."""
    from dataprep.corpus import Corpus
    from dataprep.verify import files, problems

    opened = Corpus.open(directory)
    found = []
    with progress("verify", len(files(opened)), "files") as tick:
        found = list(problems(opened, tick))
    emit({"problems": found}, json, "\n".join(found) if found else "every file and every count is right")
    if found:
        raise typer.Exit(1)


@corpus.command()
def report(
    directory: Directory,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page.", show_default="DIRECTORY/report.html")
    ] = None,
    json: Json = False,
) -> None:
    """Draw the corpus on one self-contained HTML page."""
    from pipeline.report import gather, render

    page = output or directory / "report.html"
    page.write_text(render(gather(directory)), encoding="utf-8")
    emit({"report": str(page)}, json, f"{page}: open it in a browser")


@corpus.command()
def trace(
    directory: Directory,
    doc_id: Annotated[str, typer.Argument(help="A document's id: 32 hex digits.", show_default=False)],
    json: Json = False,
) -> None:
    """Follow a document back to its WARC record, its URL and the submissions that posted it."""
    from dataprep.corpus import Corpus
    from dataprep.trace import trace as follow

    found = follow(Corpus.open(directory), doc_id)
    emit(found, json, "\n".join(f"{key}: {value}" for key, value in found.items()))


def _damages(increment: Increment) -> list[dict[str, Any]]:
    """What was wrong with the dumps of an increment."""
    return [
        damage
        for record in increment.records("links")
        for damage in record.notes.get("dumps", [])
        if damage["bad_lines"] or damage["stopped"]
    ]


def _report_damage(damage: dict[str, Any]) -> None:
    console.print(
        f"[yellow]{escape(damage['path'])}[/]: "
        f"{damage['bad_lines']} of {damage['lines']} lines are no submissions"
        + (f"; {damage['stopped']}" if damage["stopped"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    for example in damage["examples"]:
        console.print(f"  {escape(example)}", highlight=False, soft_wrap=True)


def _table(counts: list[StageCount]) -> str:
    lines = []
    for count in counts:
        lines.append(f"{count.stage:>8}  {count.entered:>9,} {count.unit}, {count.passed:,} passed")
        lines += [f"{'':>8}  {-n:>9,} {reason}" for reason, n in count.reasons.items()]
    return "\n".join(lines)
