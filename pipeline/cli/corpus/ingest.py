"""`outbound corpus init, add`: make a corpus and its increments."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, console, emit, progress
from pipeline.cli.corpus import crawl_options as options
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus
from pipeline.cli.corpus.damage import show_increment
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

    refuse_strangers(directory, "a corpus", ("manifest.json", "recipe.yaml", "quality-*.safetensors"))
    path = find("corpora", recipe)
    chosen = load_recipe(path).with_quality(quality)
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
    crawl: options.CrawlFile = None,
    contact: options.Contact = None,
    agent: options.Agent = None,
    delay: options.Delay = None,
    concurrency: options.Concurrency = None,
    partitions: options.Partitions = None,
    hours: options.Hours = None,
    archive: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=options.CRAWL,
            help="Ask this Wayback-style archive for dead links, as of their submission.",
        ),
    ] = None,
    archive_first: Annotated[
        bool | None,
        typer.Option(
            "--archive-first/--archive-last",
            rich_help_panel=options.CRAWL,
            help="Ask the archive before the live sites, or after them.",
        ),
    ] = None,
    connect_to: options.ConnectTo = None,
    proxy: options.Proxy = None,
    port: options.Ports = None,
    allow_loopback: options.AllowLoopback = None,
    ca_file: options.CaFile = None,
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan-only",
            rich_help_panel=options.CRAWL,
            help="Plan the crawl, show how long it will take, and ask nothing.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Fetch once more what failed for a temporary reason, here and earlier."
        ),
    ] = False,
    wandb_project: Annotated[
        str | None, typer.Option(help="Show the crawl in this W&B project; WANDB_MODE=offline works.")
    ] = None,
    json: Json = False,
) -> None:
    """Ingest dumps as an increment; run again to go on where it stopped."""
    from dataprep import ingest, steps
    from dataprep.audit.status import crawl_left
    from dataprep.corpus.directory import Corpus
    from dataprep.crawl.estimate import words
    from dataprep.crawl.settings import CrawlSettings
    from dataprep.links.dumps import increment_name, refuse_missing
    from dataprep.store import locks
    from pipeline.config.named import find
    from pipeline.monitor.crawl_view import watching

    refuse_missing(dumps)
    reaches_the_web = len(steps.until(until)) > 1
    given = {
        "contact": contact,
        "agent": agent,
        "delay_s": delay,
        "concurrency": concurrency,
        "partitions": partitions,
        "hours": hours,
        "archive": archive,
        "archive_first": archive_first,
        "connect_to": connect_to,
        "proxy": proxy,
        "ports": port,
        "allow_loopback": allow_loopback,
        "ca_file": ca_file,
    }
    settings = CrawlSettings.load(given, find("crawls", crawl) if crawl else None)
    if reaches_the_web:
        settings.refuse_without_contact()
    opened = Corpus.open(directory, remaking=True)
    with locks.shared(directory):
        increment = ingest.add(
            opened,
            name or increment_name(dumps[0]),
            dumps,
            crawl=settings.limited(opened.recipe.collect.crawl),
            workers=workers,
            until=until,
            progress=progress,
            watching=partial(watching, opened.root, wandb_project, console),
            retry_failed=retry_failed,
            plan_only=plan_only,
        )
    if plan_only:
        left = crawl_left(opened, increment)
        end = f"is planned, nothing was asked: {words(left.expected)}" if left else "has nothing to crawl"
        show_increment(directory, increment, {"crawl": asdict(left) if left else None}, end, json)
        return
    end = "is in" if until == steps.UNTIL[-1] else f"is done until {until}"
    show_increment(directory, increment, {"until": until}, end, json)
