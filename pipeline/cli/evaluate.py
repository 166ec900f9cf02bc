"""`outbound eval`: evaluate a trained model by the tasks of GPT's papers and of lm-eval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import eval_options as options
from pipeline.cli.app import Json, app, console, emit, progress
from pipeline.cli.corpus.app import CORES
from pipeline.cli.corpus.joining import Again, Grace, Join, TimeLimit, limits
from pipeline.cli.eval_options import COMPUTED, SETS
from pipeline.cli.eval_sets import list_sets, write_examples_of
from pipeline.cli.eval_tuned import evaluate_tuned
from pipeline.cli.places import refuse_mixing
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.eval.choose import Choice
    from pipeline.eval.computing import Computing
    from pipeline.eval.evaluation import Evaluation
    from pipeline.eval.trained_model import TrainedModel

WIDE = 160
"""Columns of a table in a file."""
NAMED = 15
"""At most so many tasks are named that are left out for want of a file, though nobody named them."""
RESULTS = "Results that are there"
FAMILY = "family.html"


@app.command("eval")
def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|HF_DIR|TUNED",
            help="A run, a directory that transformers loads, or of `outbound finetune`.",
            show_default=False,
        ),
    ] = None,
    data: options.Data = None,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", help="List the tasks, and which of their files are there.", rich_help_panel=SETS
        ),
    ] = False,
    overlap: options.Overlap = None,
    write_examples: Annotated[
        Path | None,
        typer.Option(
            help="Write each set as JSON lines, for `outbound corpus overlap`, and evaluate nothing.",
            show_default=False,
            rich_help_panel=SETS,
        ),
    ] = None,
    tasks: options.Tasks = None,
    task_file: options.TaskFiles = None,
    trust: options.Trust = False,
    shots: options.Shots = None,
    protocol: options.Protocol = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    step: options.Step = None,
    watch: options.Watch = False,
    nproc: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that answer, each with the whole model.",
            show_default="GPUs, or cores as far as memory goes",
            rich_help_panel=COMPUTED,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=COMPUTED)] = "auto",
    dtype: options.Dtype = "auto",
    out: options.Out = None,
    together: Join = False,
    time_limit: TimeLimit = None,
    grace: Grace = None,
    again: Again = False,
    compared: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Compare two evaluations of the same documents, and evaluate nothing.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    family: Annotated[
        list[Path] | None,
        typer.Option(
            help="Draw evaluations, one --family for each, as a page of a family of models, and evaluate "
            "nothing. The page goes to --out, or family.html.",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Ask a model the tasks of GPT's papers, or of lm-eval, and compare its scores with theirs.

    The sets are read from --data as they are published; nothing is downloaded. A set that is missing is
    reported and left out; the command fails only when its task was named. Answers are stored: after a kill
    the same command resumes, and another command computes only the answers that are not there yet.

    A fine-tuned model is scored on its finetune.test, or on the file of --data, which has the same columns.
    """
    from dataprep.store.files import hash_file
    from pipeline.eval.choose import choose
    from pipeline.eval.computing import computing
    from pipeline.eval.evaluation import Evaluation
    from pipeline.eval.trained_model import find
    from pipeline.eval.watch import each_checkpoint
    from pipeline.finetune.record import seeds_of

    if compared:
        _compare(*compared, seed, json)
        return
    if family:
        _draw_family(family, out or Path(FAMILY), json)
        return
    if run is not None and (seeds := seeds_of(run)):
        of_sets = {
            "--tasks": tasks,
            "--task-file": task_file,
            "--shots": shots,
            "--protocol": protocol,
            "--limit": limit,
            "--step": step,
            "--watch": watch,
            "--overlap": overlap,
            "--join": together,
        }
        if given := [name for name, value in of_sets.items() if value]:
            raise UsageError(
                f"{given[0]}: {run} is a fine-tuned model, which has no tasks but its own; leave it out"
            )
        evaluate_tuned(run, seeds, data, json)
        return
    bounds = limits(together, time_limit, grace, again)
    if watch and (together or step is not None):
        raise UsageError("--watch takes each checkpoint by itself; leave out --join and --step")
    if data is None:
        raise UsageError("--data: give the directory of the sets")
    wanted, known = options.wanted(tasks, task_file, trust, shots, protocol)
    if list_:
        list_sets(wanted, known, data, json)
        return
    choice = choose(wanted, known, data)
    if write_examples:
        write_examples_of(choice, data, write_examples, json)
        return
    if run is None:
        raise UsageError("RUN: give a run, or a directory that transformers loads")
    if not run.is_dir():
        raise UsageError(f"{run}: there is no such directory; give a run, or one that transformers loads")
    _report(choice)
    options.refuse_nothing(choice, data)
    how, evaluations = computing(device, dtype, nproc, CORES), out or options.evaluations_of(run)
    refuse_mixing(evaluations, "evaluations")

    def evaluation_of(model: TrainedModel) -> Evaluation:
        evaluations.mkdir(parents=True, exist_ok=True)
        return Evaluation(
            root=evaluations.resolve(),
            data=data.resolve(),
            model=model,
            dtype=how.dtype,
            device=how.device,
            askings=tuple(choice.askings),
            sets=choice.sets,
            limit=limit,
            seed=seed,
            overlap=(overlap.resolve(), hash_file(overlap)) if overlap else None,
        )

    if watch:
        _watch(each_checkpoint(run, evaluations), evaluation_of, how, choice, json)
    elif together:
        _show(_join(evaluation_of(find(run, step)), how, again, bounds), choice, json)
    else:
        _show(_alone(evaluation_of(find(run, step)), how), choice, json)
    if any(each.by_hand for each in choice.skipped):
        raise typer.Exit(1)


def _alone(evaluation: Evaluation, how: Computing) -> Path:
    """Evaluate with processes of this command only."""
    from dataprep.store.step import LocalPool
    from pipeline.eval.run import evaluate

    pool = LocalPool(how.processes(evaluation.model.parameters[0]))
    return evaluate(evaluation, pool, progress)


def _join(evaluation: Evaluation, how: Computing, again: bool, bounds: Mapping[str, float]) -> Path:
    """Take part in an evaluation. bounds: see `limits`."""
    from dataprep.store.presence import Presence, Stopped
    from dataprep.store.workers import new_worker
    from dataprep.work import try_again
    from pipeline.eval.run import STAGE, join
    from slurm.codes import RESUME_EXIT

    if again:
        try_again(evaluation.root)
    worker = new_worker(STAGE, how.processes(evaluation.model.parameters[0]))
    try:
        return join(evaluation, Presence(evaluation.root, worker, bounds["end"], bounds["grace"]), progress)
    except Stopped:
        console.print("stopped before all was answered; any process goes on from here")
        raise typer.Exit(RESUME_EXIT) from None


def _watch(
    models: Iterable[TrainedModel],
    evaluation_of: Callable[[TrainedModel], Evaluation],
    how: Computing,
    choice: Choice,
    json: bool,
) -> None:
    """Evaluate checkpoints as they come."""
    from pipeline.eval.run import CheckpointGone

    for model in models:
        try:
            results = _alone(evaluation_of(model), how)
        except CheckpointGone as error:
            console.print(f"passed over: {error}", highlight=False, soft_wrap=True)
        else:
            _show(results, choice, json)


def _show(results: Path, choice: Choice, json: bool) -> None:
    """Print the scores."""
    import msgspec

    from pipeline.eval.page import REPORT
    from pipeline.eval.table import table
    from pipeline.monitor.evaluations import read_results

    found = read_results(results)
    for task, why in found.unaskable.items():
        console.print("[bold red]cannot be asked:[/]", f"{task}: {why}", highlight=False, soft_wrap=True)
    if not json:
        _terminal().print(table(found))
    skipped = [{"task": each.task, "why": each.why} for each in choice.skipped]
    report = results.with_name(REPORT)
    result = {
        "results": str(results),
        "report": str(report),
        "step": found.model.step,
        "skipped": skipped,
        "unaskable": found.unaskable,
        "scores": msgspec.to_builtins(found.scores),
    }
    emit(result, json, f"results: {results}\nreport: {report}")


def _compare(a: Path, b: Path, seed: int, json: bool) -> None:
    """Print how two results differ."""
    from pipeline.eval.compare import compare, table

    found = compare(a, b, seed)
    if not json:
        _terminal().print(table(found))
    emit(found.as_json(), json)


def _draw_family(evaluations: list[Path], page: Path, json: bool) -> None:
    """Write the page of several models."""
    from pipeline.eval.page import write_family

    if page.is_dir():
        raise UsageError(f"--out {page}: is a directory; give the page a name, such as {page / FAMILY}")
    page.parent.mkdir(parents=True, exist_ok=True)
    write_family(evaluations, page)
    emit({"page": str(page), "models": len(evaluations)}, json, f"{page}: {len(evaluations)} models")


def _terminal() -> Console:
    """The console for tables: a file, which has no width, gets WIDE columns."""
    from rich.console import Console

    terminal = Console()
    if not terminal.is_terminal:
        terminal.width = WIDE
    return terminal


def _report(choice: Choice) -> None:
    """Name the tasks that are left out.

    The reason stands beside a task that the user named, or that is asked with other shots or protocols.
    """
    asked = {asking.task.name for asking in choice.askings}
    others: dict[str, None] = {}
    for each in choice.skipped:
        if each.by_hand or each.task in asked:
            style = "[bold red]missing:[/]" if each.by_hand else "left out:"
            console.print(style, f"{each.task}: {each.why}", highlight=False, soft_wrap=True)
        else:
            others[each.task] = None
    if others:
        names = ", ".join([*others][:NAMED])
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        line = f"left out (--list shows what they lack): {names}{more}"
        console.print(line, highlight=False, soft_wrap=True)
