"""`outbound config reference`: every key of the configuration files."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit
from pipeline.errors import UsageError

config_app = typer.Typer(help="What configuration files hold.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command("reference")
def reference(
    kind: Annotated[
        str | None, typer.Argument(help="Only this kind of file, such as run.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Print every key of the configuration files with its type, default and meaning, as Markdown.

    A part of a key in capitals, as in data.mixture.NAME.weight, stands for a name of your own. A key without
    a default must be given, unless `preset` or `recipe` brings a value.
    """
    from dataprep.audit.card import table
    from pipeline.config.keys import keys

    known = _models()
    if kind is not None and kind not in known:
        raise UsageError(f"{kind} is none of {', '.join(known)}")
    chosen = known if kind is None else {kind: known[kind]}
    found = {name: [*keys(model, unused)] for name, (_, model, unused) in chosen.items()}
    pages = []
    for name, (title, _, _) in chosen.items():
        rows = [
            (f"`{key.name}`", key.type, f"`{key.default}`" if key.default else "", key.meaning)
            for key in found[name]
        ]
        pages.append(f"## {title}\n\n{table(['key', 'type', 'default', 'meaning'], rows)}\n")
    text = "\n".join(pages)
    emit({name: [dataclasses.asdict(key) for key in rows] for name, rows in found.items()}, json, text)


def _models() -> dict[str, tuple[str, type, set[str]]]:
    """Title, model, and the model's fields that no file holds, of each kind of file."""
    from dataprep.corpus.recipe import Recipe
    from dataprep.crawl.settings import FROM_RECIPE, INTERNAL, CrawlSettings
    from pipeline.config import RunConfig
    from pipeline.finetune.settings import FinetuneConfig
    from pipeline.finetune.texts import TextsConfig
    from slurm.profile import EvalProfile, TrainProfile

    return {
        "run": ("A training run, for `outbound train`", RunConfig, set()),
        "finetune": ("A fine-tuning on a task, for `outbound finetune`", FinetuneConfig, set()),
        "texts": ("Continued pretraining, for `outbound finetune` (`kind: lm`)", TextsConfig, set()),
        "recipe": ("The recipe of a corpus, for `outbound corpus init --recipe`", Recipe, set()),
        "crawl": ("A crawl, for `outbound corpus add --crawl`", CrawlSettings, {*FROM_RECIPE, *INTERNAL}),
        "cluster": ("A cluster, for `outbound submit train` and `submit finetune`", TrainProfile, set()),
        "cluster-eval": ("A cluster, for `outbound submit eval`", EvalProfile, set()),
    }
