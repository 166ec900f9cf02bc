"""The steps of an evaluation, in order; `dataprep/store/step.py` explains the fields of a row.

requests   one part: the engines run over notes, which become partitions     no torch
answers    a part a partition: the model answers it
results    one part: the engines run over the answers                        no torch
"""

from __future__ import annotations

from typing import Any

from dataprep.errors import DataError
from dataprep.store.files import Output, hash_file
from dataprep.store.step import Made, Part, Save, Step, Task, read_step
from pipeline.eval import overlapped, record
from pipeline.eval.answer import answer
from pipeline.eval.asking import Ask, AskedModel
from pipeline.eval.earlier import earlier_answers
from pipeline.eval.encode import Unaskable
from pipeline.eval.evaluation import Evaluation, software
from pipeline.eval.overlapped import Overlap
from pipeline.eval.page import write_report
from pipeline.eval.record import Notes, Record
from pipeline.eval.requests import Answer, Request
from pipeline.eval.results import write_results
from pipeline.eval.run_task import run_task
from pipeline.eval.scores import Outcome
from pipeline.eval.trained_model import no_context
from pipeline.monitor.evaluations import RESULTS, SAMPLES, ModelFacts

REQUESTS, ANSWERS, RESULTS_STEP = "requests", "answers", "results"
KNOWN = "known"
"""The part of the answers that earlier evaluations have stored."""


def _plan_whole(scope: Evaluation, save: Save) -> list[Part]:
    return [Part(name="all", size=len(scope.askings))]


def _note_requests(task: Task[Evaluation]) -> Made:
    """Note the requests of all tasks, and write them in partitions; write answers that are known already."""
    _overlap(task.scope)  # only the results need it, but a wrong one is better reported first
    notes = Notes()
    _run_tasks(task, notes.ask)
    known = earlier_answers(task.scope, notes.keys)
    outputs = {}
    for number, partition in enumerate(notes.partitions(known)):
        outputs[f"{number:05d}"] = _published(task, f"{number:05d}", partition)
    if known:
        outputs[KNOWN] = _published(task, KNOWN, [*known.values()])
    return Made(outputs=outputs, entered=len(notes.keys), passed=len(notes.keys))


def _plan_answers(scope: Evaluation, save: Save) -> list[Part]:
    return [Part(name=name, size=output.rows) for name, output in _requests(scope).items()]


def _answer(task: Task[Evaluation]) -> Made:
    """Answer a partition of the requests."""
    scope, output = task.scope, _requests(task.scope)[task.part.name]
    if task.part.name == KNOWN:
        answers = record.read(scope.root, output, Answer)
        task.tick(output.rows)
    else:
        answers = answer(scope, record.read(scope.root, output, Request), task.tick)
    published = _published(task, "", answers)
    return Made(outputs={ANSWERS: published}, entered=published.rows, passed=published.rows)


def _judge(task: Task[Evaluation]) -> Made:
    """Measure the answers, and write the files of the results."""
    scope = task.scope
    outputs = read_step(scope, ANSWERS).outputs(ANSWERS)
    answers = {each.key: each for output in outputs for each in record.read(scope.root, output, Answer)}
    outcomes, unaskable = _run_tasks(task, Record(scope.folder, answers).ask)
    overlap = _overlap(scope)
    if overlap:
        measured = (document for outcome in outcomes for document in outcome.documents)
        overlap = overlapped.with_short(overlap, scope.data, measured)
    parameters, non_embedding = scope.model.parameters
    facts = ModelFacts(
        run=scope.model.where.name,
        weights=scope.model.weights,
        dtype=scope.dtype,
        tokenizer=scope.model.tokenizer,
        parameters=parameters,
        non_embedding=non_embedding,
        step=scope.model.step,
        tokens=scope.model.tokens,
        loss=scope.model.loss,
        no_context=no_context(scope.model.load_tokenizer()),
    )
    write_results(
        scope.folder,
        outcomes,
        model=facts,
        sets=scope.sets,
        seed=scope.seed,
        limit=scope.limit,
        software=software(),
        overlap=overlap,
        unaskable=unaskable,
    )
    report = write_report(scope.folder)
    documents = sum(len(outcome.documents) for outcome in outcomes)
    paths = [scope.folder / RESULTS, report, *sorted((scope.folder / SAMPLES).iterdir())]
    written = {
        path.relative_to(scope.folder).as_posix(): Output(
            path=str(path.relative_to(scope.root)), bytes=path.stat().st_size, xxh3_128=hash_file(path)
        )
        for path in paths
    }
    return Made(outputs=written, entered=documents, passed=documents)


def _overlap(scope: Evaluation) -> Overlap | None:
    """The examples that the corpus holds; None where that is not known."""
    if scope.overlap is None:
        return None
    return overlapped.read(scope.overlap[0], scope.data, [asking.task.name for asking in scope.askings])


def _run_tasks(task: Task[Evaluation], ask: Ask) -> tuple[list[Outcome], dict[str, str]]:
    """Run every task of an evaluation over a model that `ask` answers.

    Also returns the reasons of tasks that could not be asked. Raises DataError when none could.
    """
    model = task.scope.model
    tokenizer = model.load_tokenizer()
    outcomes: list[Outcome] = []
    unaskable: dict[str, str] = {}
    for asking in task.scope.askings:
        try:
            outcomes.append(run_task(task.scope, asking, AskedModel(tokenizer, model.config.n_ctx, ask)))
        except Unaskable as error:
            unaskable[asking.name] = str(error)
        task.tick(1)
    if not outcomes:
        raise DataError("; ".join(f"{name}: {why}" for name, why in unaskable.items()))
    return outcomes, unaskable


def _published(task: Task[Evaluation], name: str, items: list[Any]) -> Output:
    written = task.attempt(name)
    record.write(written, items)
    return task.publish(written, record.SUFFIX, name, rows=len(items))


def _requests(scope: Evaluation) -> dict[str, Output]:
    return read_step(scope, REQUESTS).parts[0].outputs


def _sets(scope: Evaluation) -> dict[str, str]:
    return scope.sets


STEPS: list[Step[Evaluation]] = [
    Step(
        name=REQUESTS,
        unit="tasks",
        at="evaluation",
        temporary=True,
        inputs=_sets,
        plan=_plan_whole,
        run=_note_requests,
    ),
    Step(name=ANSWERS, unit="requests", at="evaluation", reads=(REQUESTS,), plan=_plan_answers, run=_answer),
    Step(name=RESULTS_STEP, unit="tasks", at="evaluation", reads=(ANSWERS,), plan=_plan_whole, run=_judge),
]
