"""`outbound recipes`: what is shipped."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="Print this one, to copy it: NAME or KIND/NAME.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """List the configurations that come with outbound: corpora, crawls, models, mixtures, clusters,
    evaluation tasks and fine-tunings.

    Commands take a name from this list wherever they take such a file: `corpus init --recipe`, `corpus add
    --crawl`, `train`, `plan`, `finetune`, `eval --tasks`, and `submit` with its `--cluster`. A mixture is the
    `data` section of a run's file.
    """
    from pipeline.config.named import named, shipped

    if name is not None:
        text = named(name).path.read_text(encoding="utf-8")
        emit({"name": name, "path": str(named(name).path), "text": text}, json, text)
        return
    found = shipped()
    width = max(len(config.name) for config in found)
    lines = []
    for kind, group in groupby(found, lambda config: config.kind):
        lines += ["", kind, *(f"  {config.name:<{width}}  {config.about}" for config in group)]
    entries = [
        {"kind": config.kind, "name": config.name, "path": str(config.path), "about": config.about}
        for config in found
    ]
    emit({"recipes": entries}, json, "\n".join(lines[1:]))
