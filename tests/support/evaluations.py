"""Evaluations made by hand: documents, outcomes and the files that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.eval.documents import Document, Example
from pipeline.eval.overlapped import Overlap
from pipeline.eval.results import write_results
from pipeline.eval.scores import Outcome
from pipeline.eval.tasks import ProtocolFile, TaskFile
from pipeline.monitor.evaluations import ModelFacts, Results

MEASURED: dict[str, dict[str, list[str]]] = {
    "hellaswag": {"paper": ["acc"], "lm-eval": ["acc"]},
    "lambada": {"gpt2": ["perplexity", "acc_filtered"], "gpt3": ["acc", "perplexity"]},
    "shown_news": {"paper": []},
    "text8": {"paper": ["bits_per_byte"]},
}
SETS = {"hellaswag_val.jsonl": "aa", "lambada.jsonl": "bb", "text8": "cc"}


def task(name: str) -> TaskFile:
    """A task as its file would describe it."""
    protocols = {
        protocol: ProtocolFile(engine="choices", measures=measures)
        for protocol, measures in MEASURED[name].items()
    }
    return TaskFile(
        name=name,
        title=name,
        family="completion",
        suites=["gpt3"],
        source="https://example.test",
        reader=f"choices.{name}",
        files={"test": ["*"]},
        few=15,
        protocols=protocols,
    )


def documents(
    count: int,
    values: dict[str, Callable[[int], Sequence[float]]],
    file: str = "hellaswag_val.jsonl",
    unit: Callable[[int], str] = str,
) -> list[Document]:
    """The n-th document, from 0, stands in line n + 1 and adds values[measure](n)."""
    return [
        Document(
            example=Example(file=file, line=n + 1, key=f"{file}:{n + 1}", unit=unit(n), row={}),
            values={name: of(n) for name, of in values.items()},
            sample={"prompt": f"Question <{n}>", "answer": "a", "gold": "b"},
        )
        for n in range(count)
    ]


def right(n: int) -> list[float]:
    """Three of four documents are right."""
    return [float(n % 4 != 0), 1.0]


def outcome(
    shots: int = 0,
    values: dict[str, Callable[[int], Sequence[float]]] | None = None,
    count: int = 40,
    **more: Any,
) -> Outcome:
    """HellaSwag with an accuracy of 3/4 and ties in every fourth document."""
    values = values or {"acc": right, "ties": lambda n: [float(n % 4 == 1), 1.0]}
    found = documents(count, values)
    return Outcome(
        task=task("hellaswag"), protocol="paper", shots=shots, documents=found, examples=10042, **more
    )


def lambada(documents: Sequence[Document] | None = None) -> Outcome:
    """LAMBADA as GPT-2 measured it."""
    found = documents or _passages()
    return Outcome(task=task("lambada"), protocol="gpt2", shots=0, documents=found, examples=5153)


def _passages() -> list[Document]:
    values: dict[str, Callable[[int], Sequence[float]]] = {
        "perplexity": lambda n: [3.0 + n % 3, 1.0],
        "acc_filtered": right,
    }
    return documents(30, values, file="lambada.jsonl")


def model(step: int | None = 300, non_embedding: int = 85_000_000, **more: Any) -> ModelFacts:
    """A model of about GPT-2 small's size."""
    facts: dict[str, Any] = {"run": "books", "weights": "ww", "dtype": "float32", "tokenizer": "tt"}
    tokens = None if step is None else step * 1000
    return ModelFacts(
        **facts | {"parameters": 124_000_000, "non_embedding": non_embedding, "tokens": tokens} | more,
        step=step,
    )


def write(
    folder: Path,
    outcomes: Sequence[Outcome],
    overlap: Overlap | None = None,
    sets: dict[str, str] = SETS,
    seed: int = 0,
    limit: int | None = None,
    **facts: Any,
) -> Results:
    """The files of an evaluation in a folder."""
    return write_results(
        folder,
        outcomes,
        model=model(**facts),
        sets=sets,
        seed=seed,
        limit=limit,
        software={"outbound-gpt": "0.1.0", "lm-eval": "0.4.13"},
        overlap=overlap,
    )
