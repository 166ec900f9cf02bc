"""Examples, tasks over them, and the values that an engine gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.measures import MEASURES
from pipeline.eval.run_task import engine
from pipeline.eval.tasks import FOLDER, ProtocolFile, TaskFile, load


def example(row: dict[str, Any], key: str = "0", file: str = "test", line: int = 1) -> Example:
    return Example(file=file, line=line, key=key, unit=key, row=row)


def examples(rows: Sequence[dict[str, Any]], file: str = "set.jsonl") -> list[Example]:
    """Rows as a reader gives them."""
    return [example(row, f"{file}:{line}", file, line) for line, row in enumerate(rows, start=1)]


def read(task: TaskFile, root: Path, paths: Sequence[Path]) -> list[Example]:
    """The examples of files, by the reader of a task."""
    module, function = task.reader.split(".")
    return list(getattr(import_module(f"pipeline.eval.sets.{module}"), function)(paths, root))


@cache
def shipped(task: str) -> TaskFile:
    return load(FOLDER / f"{task}.yaml")


def asked(
    engine_name: str,
    examples: Sequence[Example],
    training: Sequence[Example] = (),
    *,
    shots: int = 0,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
) -> Asked:
    """A made-up task over these examples."""
    protocol = ProtocolFile(engine=engine_name, measures=["acc"], settings=settings or {})
    task = TaskFile(
        name="task",
        title="A task",
        family="made up",
        suites=[],
        source="this test",
        reader="rows.own_fields",
        files={},
        protocols={"lm-eval": protocol},
    )
    return of(task, "lm-eval", examples, training, shots=shots, seed=seed)


def of(
    task: TaskFile,
    protocol: str,
    examples: Sequence[Example],
    training: Sequence[Example] = (),
    *,
    shots: int = 0,
    seed: int = 0,
) -> Asked:
    """A task that is there, under one of its protocols."""
    return Asked(
        task=task,
        name=task.name,
        protocol=task.protocols[protocol],
        shots=shots,
        seed=seed,
        examples=examples,
        training=training,
    )


def ask(
    task: str, protocol: str, examples: Sequence[Example] = (), shots: int = 0, **settings: object
) -> Asked:
    """A shipped task over examples that are also its training ones, with some other settings."""
    asked = of(shipped(task), protocol, examples, examples, shots=shots)
    changed = {"settings": {**asked.protocol.settings, **settings}}
    return replace(asked, protocol=asked.protocol.model_copy(update=changed))


def run(
    task: str,
    protocol: str,
    model: LanguageModel,
    examples: Sequence[Example],
    training: Sequence[Example] = (),
    shots: int = 0,
) -> list[Document]:
    """The documents of a shipped task, which have the measures that its file names and no others."""
    asked = of(shipped(task), protocol, examples, training, shots=shots)
    documents = engine(asked.protocol.engine)(asked, model)
    assert all({*asked.protocol.measures} == {*each.values} for each in documents)
    return documents


def measured(documents: Sequence[Document], measure: str) -> float:
    """The value of a measure over documents."""
    sums = np.sum([each.values[measure] for each in documents], axis=0, dtype=np.float64)
    return float(MEASURES[measure].value(sums))
