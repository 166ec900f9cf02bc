"""A language model that answers by a rule, and tasks to ask it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import xxhash

from pipeline.eval.documents import Asked, Example
from pipeline.eval.language_model import Score
from pipeline.eval.requests import Writing
from pipeline.eval.tasks import ProtocolFile, TaskFile


class Oracle:
    """Scores a continuation by a rule: without one, by a hash of what it is asked. A token is a character."""

    def __init__(self, rule: Callable[[str, str], float] | None = None, *, n_ctx: int = 2048) -> None:
        self.n_ctx = n_ctx
        self.asked: list[tuple[Any, ...]] = []
        self._rule = rule or (
            lambda *asked: -(xxhash.xxh3_64_intdigest("\0".join(asked).encode()) % 1000) / 100 - 0.5
        )

    def count(self, text: str) -> int:
        return len(text)

    def as_read(self, text: str) -> str:
        return text

    def score(self, context: str, continuation: str, *, last: int | None = None, whole: bool = True) -> Score:
        self.asked.append((context, continuation))
        value = self._rule(context, continuation)
        return Score(value, value > -5, len(continuation))

    def roll(self, text: str, *, stride: int | None = None) -> Score:
        self.asked.append((text,))
        return Score(self._rule("", text), False, len(text))

    def write(self, context: str, writing: Writing) -> str:
        self.asked.append((context, writing))
        return ["Bo", "Ann 1", "nobody"][len(self.asked) % 3]

    def likeliest(self, context: str, n: int) -> list[tuple[str, float]]:
        return []


def examples(rows: Sequence[dict[str, Any]], file: str = "set.jsonl") -> list[Example]:
    """Rows as a reader gives them."""
    return [
        Example(file=file, line=line, key=f"{file}:{line}", unit=f"{file}:{line}", row=row)
        for line, row in enumerate(rows, start=1)
    ]


def asked(
    engine: str,
    examples: Sequence[Example],
    training: Sequence[Example] = (),
    *,
    shots: int = 0,
    seed: int = 0,
    settings: dict[str, Any] | None = None,
) -> Asked:
    """A task over these examples."""
    protocol = ProtocolFile(engine=engine, measures=["acc"], settings=settings or {})
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
