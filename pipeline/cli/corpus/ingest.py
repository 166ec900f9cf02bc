"""`outbound corpus init, add`: make a corpus and its increments."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, console, emit, progress
from pipeline.cli.corpus import crawl_options as options
from pipeline.cli.corpus.app import CORES, Directory, Workers, corpus
from pipeline.cli.corpus.damage import show_increment
from pipeline.cli.places import refuse_strangers

if TYPE_CHECKING:
    from dataprep.crawl.settings import CrawlSettings


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
@options.with_settings()
def add(
    directory: Directory,
    dumps: Annotated[list[Path], typer.Argument(help="Dumps of submissions.", show_default=False)],
    settings: CrawlSettings,
    name: Annotated[
        str | None, typer.Option(help="The increment's name.", show_default="the first dump's")
    ] = None,
    workers: Workers = CORES,
    until: Annotated[
        str,
        typer.Option(
            help="Stop after this step: links, fetch, extract, score or shard. With `dumps`, only note which "
            "dumps there are, so that workers read them."
        ),
    ] = "shard",
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan-only",
            rich_help_panel=options.CRAWL,
            help="Plan the crawl, show how long it will take, and ask nothing.",
        ),
    ] = False,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Take what a truncated dump holds.")
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
    from dataprep.links.dumps import increment_name, refuse_missing
    from dataprep.store import locks
    from pipeline.monitor.crawl_view import watching

    refuse_missing(dumps)
    reaches_the_web = len(steps.until(until)) > 1
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
            allow_truncated=allow_truncated,
        )
    if plan_only:
        left = crawl_left(opened, increment)
        end = f"is planned, nothing was asked: {words(left.expected)}" if left else "has nothing to crawl"
        show_increment(directory, increment, {"crawl": asdict(left) if left else None}, end, json)
        return
    end = "is in" if until == steps.UNTIL[-1] else f"is done until {until}"
    show_increment(directory, increment, {"until": until}, end, json)
