"""Shipped tasks of an evaluation, asked over a few examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.measures import MEASURES
from pipeline.eval.tasks import FOLDER, TaskFile, load


@cache
def shipped(task: str) -> TaskFile:
    return load(FOLDER / f"{task}.yaml")


def ask(
    task: str, protocol: str, examples: Sequence[Example] = (), shots: int = 0, **settings: object
) -> Asked:
    """A shipped task over examples that are also its training ones, with some other settings."""
    file = shipped(task)
    asked = file.protocols[protocol]
    changed = asked.model_copy(update={"settings": {**asked.settings, **settings}})
    return Asked(
        task=file, name=task, protocol=changed, shots=shots, seed=0, examples=examples, training=examples
    )


def measure(name: str, documents: Sequence[Document]) -> float:
    """The value of a measure over all documents."""
    return float(
        MEASURES[name].value(np.array([document.values[name] for document in documents]).sum(axis=0))
    )
