"""Arguments that are the path of a YAML file, or the name of one that comes with outbound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _found(kind: str) -> Callable[[Path | None], Path | None]:
    """A callback that makes the path of a name under `configs/KIND/`; it raises as `named.find`."""

    def find_shipped(given: Path | None) -> Path | None:
        from pipeline.config.named import find

        return given and find(kind, str(given))

    return find_shipped


RunFile = Annotated[
    Path,
    typer.Argument(
        help="A run's YAML, or one of `outbound recipes`, such as gpt2-small.", callback=_found("models")
    ),
]
FinetuneFile = Annotated[
    Path,
    typer.Argument(
        help="A fine-tuning's YAML, or one of `outbound recipes`, such as sst2.", callback=_found("finetune")
    ),
]
_PROFILE = "Cluster profile: a YAML, or one of `outbound recipes`, such as small."
Cluster = Annotated[Path, typer.Option(help=_PROFILE, callback=_found("clusters"))]
LastCluster = Annotated[
    Path | None,
    typer.Option(help=_PROFILE, callback=_found("clusters"), show_default="that of the last workers"),
]
