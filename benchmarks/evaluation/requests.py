"""The requests that lm-eval's own task files make of published sets, in tokens."""

from __future__ import annotations

from pathlib import Path

from dataprep.tokenizer.tokenizer import Tokenizer

Pair = tuple[list[int], list[int]]
"""Tokens of a context and of its continuation."""


def requests(
    name: str, data: Path, tokenizer: Tokenizer, n_ctx: int, documents: int, shots: int
) -> list[Pair]:
    """The requests of a set's first documents; the shots come from the rest of the same file.

    name: of a task of `configs/tasks`.
    """
    from pipeline.eval.asking import AskedModel
    from pipeline.eval.documents import Asked
    from pipeline.eval.harness import evaluate
    from pipeline.eval.requests import Answer, Request
    from pipeline.eval.set_files import examples, files_in, find
    from pipeline.eval.tasks import shipped

    task, found = shipped()[name], list[Pair]()
    files = find(task, data, files_in(data)).test
    rows = examples(task.reader, data, files, dict.fromkeys(files, ""))

    def note(request: Request) -> Answer:
        found.append(([*request.context], [*request.continuation]))
        return Answer(key=request.key)

    asked = Asked(
        task=task,
        name=name,
        protocol=task.protocols["lm-eval"],
        shots=shots,
        seed=0,
        examples=rows[:documents],
        training=rows[documents:],
    )
    evaluate(asked, AskedModel(tokenizer, n_ctx, note))
    return found
