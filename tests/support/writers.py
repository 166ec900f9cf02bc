"""Language models that write what a test tells them, and the tasks that are asked of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import Score
from pipeline.eval.measures import MEASURES
from pipeline.eval.requests import Writing
from pipeline.eval.tasks import FOLDER, load


class Writer:
    """Writes what a function makes of the prompt, and keeps what it was asked. A token is a word."""

    def __init__(self, answer: Callable[[str], str] = lambda prompt: "", n_ctx: int = 1_000_000) -> None:
        self.n_ctx = n_ctx
        self.asked: list[tuple[str, Writing]] = []
        self._answer = answer

    def count(self, text: str) -> int:
        return len(text.split())

    def as_read(self, text: str) -> str:
        return text

    def write(self, context: str, writing: Writing) -> str:
        self.asked.append((context, writing))
        text = self._answer(context)
        return min((text.split(stop)[0] for stop in writing.stops), key=len, default=text)

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        raise AssertionError("a task of written texts scores nothing")

    def roll(self, text: str, *, stride: int | None = None) -> Score:
        raise AssertionError("a task of written texts scores nothing")

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        raise AssertionError("a task of written texts asks for no token")


def example(row: dict[str, Any], key: str = "0", file: str = "test") -> Example:
    return Example(file=file, line=1, key=key, unit=key, row=row)


def run(
    task: str,
    protocol: str,
    model: Writer,
    examples: Sequence[Example],
    training: Sequence[Example] = (),
    shots: int = 0,
) -> list[Document]:
    """Ask a shipped task of a model."""
    file = load(FOLDER / f"{task}.yaml")
    asked = Asked(
        task=file,
        name=task,
        protocol=file.protocols[protocol],
        shots=shots,
        seed=0,
        examples=examples,
        training=training,
    )
    engine = import_module(f"pipeline.eval.engines.{asked.protocol.engine}")
    documents: list[Document] = engine.evaluate(asked, model)
    assert all({*asked.protocol.measures} == {*each.values} for each in documents)
    return documents


def measured(documents: Sequence[Document], measure: str) -> float:
    """The value of a measure over documents."""
    sums = np.sum([each.values[measure] for each in documents], axis=0, dtype=np.float64)
    return float(MEASURES[measure].value(sums))
