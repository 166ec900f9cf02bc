"""`outbound corpus init, add`: make a corpus and its increments."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, console, emit, progress
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus, table
from pipeline.cli.corpus.damage import damages_of, tell
from pipeline.cli.places import refuse_strangers


@corpus.command()
def init(
    directory: Directory,
    recipe: Annotated[str, typer.Option(help="A recipe's name or file.")] = "webtext",
    quality: Annotated[
        Path | None, typer.Option(help="A model of `corpus train-quality`, to score documents with.")
    ] = None,
    json: Json = False,
) -> None:
    """Make an empty corpus with a recipe."""
    from dataprep.corpus.directory import Corpus
    from dataprep.corpus.recipe import load_recipe, select_hash
    from dataprep.score.quality.model import embed
    from pipeline.config.named import find
    from pipeline.errors import UsageError

    refuse_strangers(directory, "a corpus", ("recipe.yaml", "quality-*.safetensors"))
    path = find("corpora", recipe)
    chosen = load_recipe(path)
    if quality is not None:
        collect = chosen.collect.model_copy(update={"quality": str(quality.resolve())})
        chosen = chosen.model_copy(update={"collect": collect})
    if chosen.select.quality and chosen.collect.quality is None:
        raise UsageError(f"{recipe}: selects by quality; train a model and give it with --quality MODEL")
    made = Corpus.create(directory, embed(chosen, path.parent, directory))
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
        str, typer.Option(help="Stop after this step: links, fetch, extract, score or shard.")
    ] = "shard",
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
    from dataprep.audit.funnel import funnel
    from dataprep.corpus.directory import Corpus
    from dataprep.crawl.connect import parse_route, tls_context
    from dataprep.crawl.settings import WEB_PORTS, CrawlSettings
    from dataprep.errors import DataError
    from dataprep.steps import UNTIL
    from dataprep.store import locks
    from pipeline.errors import UsageError
    from pipeline.monitor.crawl_view import watching

    if archive_first and not archive:
        raise UsageError("--archive-first: which archive? give --archive URL, too")
    if until not in UNTIL:
        raise UsageError(f"--until {until}: one of {', '.join(UNTIL)}")
    for dump in dumps:
        if dump.is_dir():
            raise UsageError(f"{dump}: is a directory; name the dumps in it")
        if not dump.is_file():
            raise UsageError(f"{dump}: no such dump")
    if until != "links" and not allow_loopback and not ("@" in contact or contact.startswith("http")):
        raise UsageError(f"--contact {contact!r}: an e-mail address or a page, for webmasters to complain to")
    try:
        for route in connect_to or ():
            parse_route(route)
        tls_context(ca_file)
    except DataError as error:  # now, not after the links are made
        raise UsageError(str(error)) from None
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
    with locks.shared(directory):
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
    damages = damages_of(increment)
    for damage in damages:
        tell(damage)
    counts = funnel(directory)
    result = {"increment": increment.path.name, "until": until, "damage": [vars(each) for each in damages]}
    end = "is in" if until == UNTIL[-1] else f"is done until {until}"
    emit(
        result | {"funnel": [vars(count) for count in counts]},
        json,
        f"{increment.path.name} {end}. The corpus so far:\n{table(counts)}",
    )
