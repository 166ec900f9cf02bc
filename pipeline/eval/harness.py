"""lm-eval as an engine: its task files, loaded by path, over our rows. Nothing is looked up or downloaded.

Its import takes 3 s, so it is imported only when a task needs it. While it runs, three of its habits are
changed (`_mended`): it compiles a template again for each field of each row, lets templates call any
function, and draws progress bars.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from dataprep.errors import DataError
from pipeline.errors import RunError
from pipeline.eval.calibration import ties_and_calibration
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.lm_eval_files import PREFIX, folder, load
from pipeline.eval.lm_eval_metrics import numbers, register
from pipeline.eval.requests import Writing

MAX_TOKENS = 256
"""Length of a written text where the task file gives none, as in lm-eval's own models."""


@dataclass(frozen=True)
class Question:
    """A row of a multiple-choice set as a task file puts it.

    contexts: one, or one a choice where only the contexts differ. continuations: one a choice. gold: the
    right choices.
    """

    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    gold: tuple[int, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Context and continuation of each choice."""
        same = len(self.contexts) == 1
        contexts = self.contexts * len(self.continuations) if same else self.contexts
        return list(zip(contexts, self.continuations, strict=True))

    @property
    def solved(self) -> str:
        """The question with its first right answer."""
        return "".join(self.pairs[self.gold[0]])


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Ask a task in lm-eval's way: with its prompts, its shots and its metrics.

    A document has the numbers of each metric by the name of its measure, except metrics that are no function
    of sums over documents. Settings: `only`, a field that is true in the rows to ask and to show; `trust`,
    whether the file's functions may run.
    """
    file, settings = asked.protocol.engine.removeprefix(PREFIX), asked.protocol.settings
    config = load(file, trust=settings.get("trust", False))
    if only := settings.get("only"):
        asked = replace(
            asked,
            examples=[example for example in asked.examples if example.row[only]],
            training=[example for example in asked.training if example.row[only]],
        )
    with _mended(), _explained(asked.name, file):
        from lm_eval.evaluator import evaluate as judge

        task = _task(config, asked.examples, asked.training, asked.shots)
        task.set_fewshot_seed(asked.seed)
        owners = _owners(task, config, asked.examples)
        outcome = judge(_lm(model), {"tasks": {asked.name: task}}, bootstrap_iters=0, log_samples=True)
        if outcome["n-shot"][asked.name] != asked.shots:
            shown = outcome["n-shot"][asked.name]
            raise RunError(f"{asked.name}: {file} showed {shown} solved examples, not {asked.shots}")
        return _documents(task, outcome["samples"][asked.name], owners, asked.shots)


def render(
    template: str | None, examples: Sequence[Example], fields: Mapping[str, Any] | None = None
) -> list[Question]:
    """Put rows as questions by a task file that lm-eval ships, with some of its fields replaced.

    Without a file the fields must be complete: `doc_to_text`, `doc_to_choice`, `doc_to_target`.
    """
    config = {**(load(template) if template else {}), "output_type": "multiple_choice", **(fields or {})}
    config = {key: value for key, value in config.items() if key not in ("metric_list", "process_results")}
    name = str(config.get("task", "the set"))
    with _mended(), _explained(name, template or "its fields"):
        task = _task(config, examples, [], 0)
        questions = [_question(task, row) for row in task.eval_docs]
    if len(questions) != len(examples):
        raise RunError(f"{name}: {template} makes {len(questions)} questions of {len(examples)} examples")
    return questions


def _task(
    config: dict[str, Any], examples: Sequence[Example], training: Sequence[Example], shots: int
) -> Any:
    """lm-eval's task over our rows.

    lm-eval takes a document out of its own shots only where `fewshot_split` is written and equal to
    `test_split`.
    """
    from lm_eval.api.task import ConfigurableTask

    own_shots = (config.get("fewshot_config") or {}).get("samples") is not None
    splits = {"test": _dataset(examples)}
    config = {**config, "custom_dataset": lambda **_: splits, "test_split": "test"}
    shares = shots > 0 and not own_shots
    if shares:
        splits["shots"] = _dataset(training) if training else splits["test"]
        config["fewshot_split"] = "shots" if training else "test"
        asked = {_content(example) for example in examples}
        shares = not training or any(_content(example) in asked for example in training)
        room = len(training or examples) - shares
        if room < shots:
            what = "training examples" if training else "other examples and no training file"
            raise RunError(
                f"{config.get('task')}: --shots is {shots}, but the set has only {room} {what}; lower it"
            )
    task = ConfigurableTask(config=config)
    if shares:
        task.fewshot_cfg.split = "test"
    task.set_config("num_fewshot", shots)
    return task


def _dataset(examples: Sequence[Example]) -> Any:
    import datasets
    import pyarrow as pa

    datasets.disable_progress_bars()
    try:
        return datasets.Dataset.from_list([example.row for example in examples])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{examples[0].file}: a field has values of several types ({error})") from None


def _content(example: Example) -> str:
    return json.dumps(example.row, sort_keys=True, default=str)


def _owners(task: Any, config: Mapping[str, Any], examples: Sequence[Example]) -> Sequence[Example]:
    """The example of each of the task's documents: a task file may leave rows out."""
    if len(task.eval_docs) == len(examples):
        return examples
    rows = task.dataset["test"]
    marked = config["process_docs"](rows.add_column("outbound_row", list(range(len(rows)))))
    if "outbound_row" not in getattr(marked, "features", {}) or len(marked) != len(task.eval_docs):
        raise RunError(
            f"{config.get('task')}: its file makes other documents of the rows; it cannot be asked here"
        )
    return [examples[row] for row in marked["outbound_row"]]


def _question(task: Any, row: dict[str, Any]) -> Question:
    text, choices, target = task.doc_to_text(row), task.doc_to_choice(row), task.doc_to_target(row)
    delimiter = task.config.target_delimiter
    if task.multiple_input:
        return Question(tuple(choices), (f"{delimiter}{target}",) * len(choices), (text,))
    golds = target if isinstance(target, list) else [target]
    gold = tuple(choices.index(each) if isinstance(each, str) else int(each) for each in golds)
    return Question((text,), tuple(f"{delimiter}{choice}" for choice in choices), gold)


def _lm(model: LanguageModel) -> Any:
    """A model for lm-eval that passes its requests on to ours."""
    from lm_eval.api.model import LM

    class Asking(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            with _its_own_errors():
                scores = [model.score(*request.args) for request in requests]
            return [(score.log_likelihood, score.is_greedy) for score in scores]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            with _its_own_errors():
                return [model.roll(*request.args).log_likelihood for request in requests]

        def generate_until(self, requests: list[Any]) -> list[str]:
            with _its_own_errors():
                return [model.write(request.args[0], writing(request.args[1])) for request in requests]

    return Asking()


def writing(given: Mapping[str, Any]) -> Writing:
    """The settings of a text in lm-eval's `generation_kwargs`.

    >>> written = writing({"until": "\\n", "do_sample": False, "max_gen_toks": 8})
    >>> written.max_tokens, written.stops, written.beams
    (8, ('\\n',), 1)
    """
    if given.get("do_sample") and given.get("temperature", 1.0) > 0:
        raise RunError(
            "its task file samples the texts (do_sample: true): only the likeliest text is written here"
        )
    until = given.get("until") or ()
    longest = next(
        (given[name] for name in ("max_gen_toks", "max_new_tokens", "max_tokens") if name in given), None
    )
    return Writing(
        max_tokens=longest or MAX_TOKENS,
        stops=(until,) if isinstance(until, str) else tuple(until),
        beams=given.get("num_beams", 1),
    )


def _documents(
    task: Any, samples: Sequence[dict[str, Any]], owners: Sequence[Example], shots: int
) -> list[Document]:
    """What lm-eval logged for each document, filter by filter; the metrics of the first have plain names."""
    first = samples[0]["filter"]
    aggregation = {
        metric: getattr(function, "__name__", "") for metric, function in task.aggregation().items()
    }
    better = task.higher_is_better()
    values: list[dict[str, Sequence[float]]] = [{} for _ in owners]
    for sample in samples:
        suffix = "" if sample["filter"] == first else f",{sample['filter']}"
        for metric in sample["metrics"]:
            found = numbers(metric, aggregation.get(metric, "mean"), sample[metric])
            if found is not None:
                measure = found[0] + suffix
                register(measure, higher_is_better=better.get(metric) is not False)
                values[sample["doc_id"]][measure] = found[1]
    documents = []
    for sample, owner, own in zip(
        (each for each in samples if each["filter"] == first), owners, values, strict=True
    ):
        shown = {
            "prompt": sample["arguments"][0][0],
            "gold": sample["target"],
            "answers": sample["filtered_resps"],
        }
        if task.OUTPUT_TYPE == "multiple_choice":
            question = _question(task, sample["doc"])
            scores = [score for score, _ in sample["filtered_resps"]][: len(question.continuations)]
            own |= ties_and_calibration(scores, question.gold)
            shown |= {"gold": question.gold, "answers": question.continuations, "scores": scores}
        documents.append(Document(example=owner, values=own, shown=shots, sample=shown))
    return documents


@contextmanager
def _mended() -> Iterator[None]:
    """lm-eval without progress bars and warnings, and with templates that are compiled once, in a sandbox.

    The sandbox is for the files of strangers: plain Jinja lets a template reach any Python object.
    """
    folder()
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils
    from lm_eval.api import task

    environment = ImmutableSandboxedEnvironment(
        loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters.update(utils.env.filters)
    compiled = lru_cache(maxsize=None)(environment.from_string)

    def apply_template(template: str, doc: dict[str, Any]) -> str:
        return compiled(template).render(**doc)

    log = logging.getLogger("lm_eval")
    before = utils.apply_template, task.tqdm, log.level
    utils.apply_template, task.tqdm = apply_template, partial(task.tqdm, disable=True)
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        utils.apply_template, task.tqdm = before[:2]
        log.setLevel(before[2])


class _OfTheModel(Exception):
    """Carries an error of the model through lm-eval."""


@contextmanager
def _its_own_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _OfTheModel from error


@contextmanager
def _explained(name: str, file: str) -> Iterator[None]:
    """An error of lm-eval over these rows as one line; an error of the model as it is."""
    from jinja2 import TemplateError

    try:
        yield
    except _OfTheModel as error:
        raise (error.__cause__ or error) from None
    except (TemplateError, LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{name}: a row does not suit lm-eval's {file} ({what}); let the set be in its format"
        ) from error
