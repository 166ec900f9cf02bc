"""One task, run by its engine over a model: once to note what it asks, once more to measure the answers."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pipeline.eval.asking import AskedModel
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.evaluation import Asking, Evaluation
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.lm_eval_files import PREFIX
from pipeline.eval.scores import Outcome
from pipeline.eval.set_files import examples


def run_task(evaluation: Evaluation, asking: Asking, model: AskedModel) -> Outcome:
    """Run a task over a model. Raises Unaskable for a text that the model cannot be asked about."""

    def read(paths: tuple[str, ...]) -> tuple[Example, ...]:
        return examples(asking.task.reader, evaluation.data, paths, evaluation.sets) if paths else ()

    found = read(asking.test)
    asked = Asked(
        task=asking.task,
        name=asking.name,
        protocol=asking.rules,
        shots=asking.shots,
        seed=evaluation.seed,
        examples=found[: evaluation.limit],
        training=read(asking.train if asking.shots else ()),
    )
    documents = engine(asking.rules.engine)(asked, model)
    return Outcome(
        task=asking.task,
        protocol=asking.protocol,
        shots=asking.shots,
        documents=documents,
        examples=len(found),
        boundary_merges=model.boundary_merges,
        truncated=model.truncated,
    )


def engine(name: str) -> Callable[[Asked, LanguageModel], list[Document]]:
    """The function that asks a task: lm-eval's (`harness`), or that of a module of `engines`."""
    module = "harness" if name.startswith(PREFIX) else f"engines.{name}"
    found: Callable[[Asked, LanguageModel], list[Document]]
    found = importlib.import_module(f"pipeline.eval.{module}").evaluate
    return found
