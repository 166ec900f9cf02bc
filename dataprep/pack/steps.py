"""The steps of a pack, in order; `store/step.py` says what a row means."""

from __future__ import annotations

from typing import Any

from dataprep.pack import merge, tokenize
from dataprep.pack.packing import Packing
from dataprep.store.step import Step


def texts(scope: Packing) -> dict[str, str]:
    """The text shards that are packed, as inputs."""
    return dict(scope.increments)


STEPS: list[Step[Any]] = [
    Step(
        name="tokenize",
        unit="documents",
        at="pack",
        inputs=texts,
        plan=tokenize.plan,
        run=tokenize.run,
        versions=tokenize.versions,
    ),
    Step(
        name="merge",
        unit="blocks",
        at="pack",
        reads=("tokenize",),
        plan=merge.plan,
        run=merge.run,
        versions=merge.versions,
    ),
]
