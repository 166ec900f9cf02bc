"""`outbound eval`: what a trained model can do, by the papers' tasks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, app, console, emit, progress
from pipeline.cli.corpus.app import CORES
from pipeline.cli.corpus.work import seconds
from pipeline.cli.places import refuse_mixing
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from pipeline.eval.choose import Choice, Wanted
    from pipeline.eval.computing import Computing
    from pipeline.eval.evaluation import Evaluation
    from pipeline.eval.tasks import TaskFile

WIDE = 160
"""Columns of a table in a file."""
ASKED, SETS, COMPUTED, TOGETHER = "What is asked", "Sets", "How it is computed", "With others"


@app.command("eval")
def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|HF_DIR",
            help="A run, or a directory that transformers loads.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the sets as they are published.", show_default=False, rich_help_panel=SETS
        ),
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(help="Names, or those of a paper (gpt1, gpt2, gpt3), or all.", rich_help_panel=ASKED),
    ] = "all",
    shots: Annotated[
        str | None,
        typer.Option(
            help="Solved examples before each question: numbers, or few for the paper's K.",
            show_default="0, where the task has that",
            rich_help_panel=ASKED,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="Whose rules: paper, lm-eval, both by commas, or all.", rich_help_panel=ASKED),
    ] = "paper",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Only the first N examples of each task.", show_default="all", rich_help_panel=ASKED
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="It draws the solved examples.", rich_help_panel=ASKED)] = 0,
    step: Annotated[
        int | None,
        typer.Option(
            help="The run's checkpoint of this step.", show_default="the newest", rich_help_panel=ASKED
        ),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", help="List the tasks, and which of their files are there.", rich_help_panel=SETS
        ),
    ] = False,
    overlap: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What `outbound corpus overlap` found: scores of clean and dirty examples.",
            show_default=False,
            rich_help_panel=SETS,
        ),
    ] = None,
    write_examples: Annotated[
        Path | None,
        typer.Option(
            help="Write each set as JSON lines, for `outbound corpus overlap`, and evaluate nothing.",
            show_default=False,
            rich_help_panel=SETS,
        ),
    ] = None,
    nproc: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that answer, each with the whole model.",
            show_default="GPUs, or cores",
            rich_help_panel=COMPUTED,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=COMPUTED)] = "auto",
    dtype: Annotated[
        str,
        typer.Option(help="Of the weights: auto, fp32, bf16 or fp16.", rich_help_panel=COMPUTED),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where results and answers go.",
            show_default="RUN/evaluations",
            rich_help_panel=COMPUTED,
        ),
    ] = None,
    together: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Share the work with all that run this command with the same words, on any machines that "
            "share the disk.",
            rich_help_panel=TOGETHER,
        ),
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--for", help="Claim nothing more after so long: 90s, 30m, 4h, 2d.", rich_help_panel=TOGETHER
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            help="Give back what is not finished so long after --for or SIGUSR1.",
            show_default="never",
            rich_help_panel=TOGETHER,
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Try again what was given up.", rich_help_panel=TOGETHER)
    ] = False,
    json: Json = False,
) -> None:
    """Ask a model the tasks of GPT's papers, or of lm-eval, and compare its scores with theirs.

    The sets are read from --data as they are published; nothing is downloaded. A set that is missing is
    reported and left out; the command fails only when its task was named. What is answered stays answered:
    the same command goes on after a kill, and another one asks only what is new.
    """
    from pipeline.eval.choose import Wanted, choose
    from pipeline.eval.computing import computing
    from pipeline.eval.tasks import shipped

    if data is None:
        raise UsageError("--data: give the directory of the sets")
    if not together and (time_limit or grace or again):
        raise UsageError("--for, --grace and --again are for several processes; give --join, too")
    wanted = Wanted(tasks=_words(tasks), shots=_words(shots) if shots else None, protocols=_words(protocol))
    known = shipped()
    if list_:
        _list(wanted, known, data, json)
        return
    choice = choose(wanted, known, data)
    if write_examples:
        _write_examples(choice, data, write_examples, json)
        return
    if run is None:
        raise UsageError("RUN: give a run, or a directory that transformers loads")
    _report(choice)
    how = computing(device, dtype, nproc, CORES)
    evaluation = _evaluation(run, step, data, choice, how, limit, seed, out, overlap)
    if together:
        end, left = time.monotonic() + seconds("--for", time_limit), seconds("--grace", grace)
        results = _join(evaluation, how, again, end, left)
    else:
        results = _alone(evaluation, how)
    _show(results, choice, json)


def _evaluation(
    run: Path,
    step: int | None,
    data: Path,
    choice: Choice,
    how: Computing,
    limit: int | None,
    seed: int,
    out: Path | None,
    overlap: Path | None,
) -> Evaluation:
    """The evaluation that the words mean. Raises RunError when no task is left to ask."""
    from dataprep.store.files import hash_file
    from pipeline.eval.evaluation import Evaluation
    from pipeline.eval.trained_model import find
    from pipeline.monitor.evaluations import EVALUATIONS

    if not choice.askings:
        raise RunError(
            f"{data}: holds no set of these tasks; `outbound eval --data {data} --list` names them"
        )
    model = find(run, step)
    evaluations = out or run / EVALUATIONS
    refuse_mixing(evaluations, "evaluations")
    evaluations.mkdir(parents=True, exist_ok=True)
    return Evaluation(
        evaluations=evaluations.resolve(),
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


def _alone(evaluation: Evaluation, how: Computing) -> Path:
    """Evaluate with processes of this command only."""
    from dataprep.store.step import LocalPool
    from pipeline.eval.run import evaluate

    return evaluate(evaluation, LocalPool(how.processes), progress)


def _join(evaluation: Evaluation, how: Computing, again: bool, end: float, grace: float) -> Path:
    """Take part in an evaluation."""
    from dataprep.store.presence import Presence, Stopped
    from dataprep.store.workers import new_worker
    from dataprep.work import try_again
    from pipeline.eval.run import STAGE, join
    from slurm.codes import RESUME_EXIT

    if again:
        try_again(evaluation.root)
    worker = new_worker(STAGE, how.processes)
    try:
        return join(evaluation, Presence(evaluation.root, worker, end=end, grace=grace), progress)
    except Stopped:
        console.print("stopped before all was answered; any process goes on from here")
        raise typer.Exit(RESUME_EXIT) from None


def _show(results: Path, choice: Choice, json: bool) -> None:
    """Print the scores; ends with 1 when a task that was named is missing."""
    import msgspec

    from pipeline.eval.table import table
    from pipeline.monitor.evaluations import read_results

    found = read_results(results)
    skipped = [{"task": each.task, "why": each.why} for each in choice.skipped]
    if not json:
        from rich.console import Console

        terminal = Console()
        terminal.print(table(found), width=None if terminal.is_terminal else WIDE)
    emit(
        {"results": str(results), "scores": msgspec.to_builtins(found.scores), "skipped": skipped},
        json,
        f"results: {results}",
    )
    if any(each.by_hand for each in choice.skipped):
        raise typer.Exit(1)


def _report(choice: Choice) -> None:
    """Name what is left out: with the reason, where the task was named or is asked in another way."""
    asked = {asking.task.name for asking in choice.askings}
    others: dict[str, None] = {}
    for each in choice.skipped:
        if each.by_hand or each.task in asked:
            style = "[bold red]missing:[/]" if each.by_hand else "left out:"
            console.print(style, f"{each.task}: {each.why}", highlight=False, soft_wrap=True)
        else:
            others[each.task] = None
    if others:
        told = f"left out (--list shows what they lack): {', '.join(others)}"
        console.print(told, highlight=False, soft_wrap=True)


def _list(wanted: Wanted, known: dict[str, TaskFile], data: Path, json: bool) -> None:
    """Print which files of each task are there, and what the missing ones must be called."""
    from pipeline.eval.choose import named
    from pipeline.eval.set_files import files_in, find

    listed, rows = files_in(data), list[dict[str, Any]]()
    for name in named(wanted.tasks, known):
        task, files = known[name], find(known[name], data, listed)
        rows.append(
            {
                "task": name,
                "title": task.title,
                "found": [*dict.fromkeys(files.test + files.train)],
                "missing": [*files.missing_test],
                "missing_for_shots": [*files.missing_train],
                "protocols": [*task.protocols],
                "few": task.few,
                "proven": task.proven,
                "source": task.source,
            }
        )
    emit({"tasks": rows}, json, "\n".join(map(_listed, rows)))


def _listed(row: dict[str, Any]) -> str:
    """A task for people: what it is, and its files by line."""
    few = f", few-shot K = {row['few']}" if row["few"] else ""
    proven = "" if row["proven"] else ", its reader never read a published file"
    lines = [f"{row['task']}: {row['title']} ({', '.join(row['protocols'])}{few}{proven})"]
    for name in ("found", "missing", "missing_for_shots"):
        if row[name]:
            lines.append(f"  {name.replace('_', ' ')}: {', '.join(row[name])}")
    return "\n".join(lines)


def _write_examples(choice: Choice, data: Path, directory: Path, json: bool) -> None:
    """Write the examples of each set as JSON lines of id and text."""
    from pipeline.eval.written_examples import write_examples

    tasks = {asking.task.name: asking for asking in choice.askings if asking.test}
    counts = {name: write_examples(asking, data, choice.sets, directory) for name, asking in tasks.items()}
    lines = [f"{directory / name}.jsonl: {count:,} examples" for name, count in counts.items()]
    emit({"directory": str(directory), "examples": counts}, json, "\n".join(lines))


def _words(words: str) -> list[str]:
    return [word for word in (each.strip() for each in words.split(",")) if word]
