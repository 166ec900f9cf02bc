"""The options that `outbound eval` and `outbound submit eval` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.eval.choose import Choice, Wanted
    from pipeline.eval.tasks import TaskFile

ASKED, SETS, COMPUTED = "What is asked", "Sets", "How it is computed"

Data = Annotated[
    Path | None,
    typer.Option(
        help="Directory with the published files of the sets.", show_default=False, rich_help_panel=SETS
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        help="Names of tasks, also of lm-eval's; gpt2 or gpt3 for the tasks of a paper; or all.",
        show_default="all, or those of --task-file",
        rich_help_panel=ASKED,
    ),
]
Shots = Annotated[
    str | None,
    typer.Option(
        help="Solved examples before each question: numbers, or few for the paper's K.",
        show_default="0, where the task has that",
        rich_help_panel=ASKED,
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="The rules of the paper, of lm-eval, or both: paper,lm-eval.",
        show_default="paper; lm-eval for tasks of no paper",
        rich_help_panel=ASKED,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Evaluate only the first N examples of each task.",
        show_default="all",
        rich_help_panel=ASKED,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of the solved examples and of drawn texts.", rich_help_panel=ASKED)
]
Step = Annotated[
    int | None,
    typer.Option(
        help="Evaluate the run's checkpoint of this step.", show_default="the newest", rich_help_panel=ASKED
    ),
]
Overlap = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="File of `outbound corpus overlap`; adds scores of the clean and the dirty examples.",
        show_default=False,
        rich_help_panel=SETS,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(help="Number format of the weights: auto, fp32, bf16 or fp16.", rich_help_panel=COMPUTED),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Directory of results and answers.", show_default="RUN/evaluations", rich_help_panel=COMPUTED
    ),
]
Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Evaluate each new checkpoint, until the run has ended.", rich_help_panel=ASKED
    ),
]
TaskFiles = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="A task of your own in lm-eval's format. May be given several times.",
        show_default=False,
        rich_help_panel=ASKED,
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run the Python functions that a --task-file names.", rich_help_panel=ASKED),
]


def wanted(
    tasks: str | None, files: list[Path] | None, trust: bool, shots: str | None, protocol: str | None
) -> tuple[Wanted, dict[str, TaskFile]]:
    """What the options ask for, and all tasks that they can choose from.

    Raises UsageError for an unknown task.
    """
    from pipeline.eval.choose import ALL, Wanted, known_tasks
    from pipeline.eval.lm_eval_files import load_user_task

    own = {task.name: task for task in (load_user_task(path, trust=trust) for path in files or [])}
    names = words(tasks) if tasks else [*own] or [ALL]
    asked = Wanted(
        tasks=names,
        shots=words(shots) if shots else None,
        protocols=words(protocol) if protocol else None,
    )
    return asked, known_tasks(names, own)


def refuse_nothing(choice: Choice, data: Path) -> None:
    """Raise UsageError when nothing is left to evaluate."""
    if not choice.askings:
        raise UsageError(
            f"{data}: nothing that was requested can be evaluated with these files; `outbound eval --data "
            f"{data} --list` shows the files and protocols that there are, and what solved examples lack"
        )


def evaluations_of(run: Path) -> Path:
    """Where the evaluations of a run go."""
    from pipeline.monitor.evaluations import EVALUATIONS

    return run / EVALUATIONS


def words(given: str) -> list[str]:
    """The words of an option, separated by commas.

    >>> words("0, 1,few")
    ['0', '1', 'few']
    """
    return [word for word in (each.strip() for each in given.split(",")) if word]
