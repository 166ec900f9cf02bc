"""The frame of every command: the root of the command tree, its output and its progress bars."""

from __future__ import annotations

import json as jsonlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Task

app = typer.Typer(
    name="outbound",
    help="From Reddit's outbound links to a trained GPT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # of all commands below, too
)

console = Console(stderr=True)

LINE_EVERY_S = 30.0
"""Where there is no terminal, long work prints a line this often."""

Trained = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run, or a directory that transformers loads.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def _show_version(wanted: bool) -> None:
    """Print the version, and end."""
    if wanted:
        from pipeline.version import version

        emit({}, json=False, text=f"outbound {version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the command without a subcommand."""


def emit(result: dict[str, Any], json: bool, text: str | None = None) -> None:
    """Print a command's result on stdout: one JSON object, or `text` for people."""
    if json:
        sys.stdout.write(jsonlib.dumps(result, default=str) + "\n")
    elif text is not None:
        sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


@contextmanager
def progress(title: str, total: int | None, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on stderr; the yielded function advances it by n.

    Where stderr is no terminal, a line appears every LINE_EVERY_S, and the bar at the end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(title, total=total)
        with nullcontext() if console.is_terminal else _lines(bars.tasks[task], unit):
            yield lambda n: bars.advance(task, n)
        if total is None:  # known now: "7/7", no "7/?"
            bars.update(task, total=bars.tasks[task].completed)


@contextmanager
def _lines(task: Task, unit: str) -> Iterator[None]:
    """Print how far a task is, now and then."""
    ended, began = threading.Event(), time.monotonic()

    def show() -> None:
        while not ended.wait(LINE_EVERY_S):
            done, total, passed = task.completed, task.total, time.monotonic() - began
            of = "" if total is None else f" of {total:,.0f}"
            left = f", about {duration(passed * (total - done) / done)} left" if total and done else ""
            line = f"{task.description}: {done:,.0f}{of} {unit} in {duration(passed)}{left}"
            console.print(" ".join(line.split()), highlight=False, markup=False, soft_wrap=True)

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def duration(seconds: float) -> str:
    """A length of time in its largest unit.

    >>> [duration(s) for s in (5, 200, 9000, 400000)]
    ['5 s', '3 min', '2.5 h', '4.6 d']
    """
    for size, unit in ((86400, "d"), (3600, "h")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds // 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
