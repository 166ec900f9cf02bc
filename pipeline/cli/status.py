"""`outbound status`: how far corpora, packs and runs are, from files first, then from Slurm's queue."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, app, emit

if TYPE_CHECKING:
    from slurm.queue import Queued
    from slurm.submissions import Job

LOOK_EVERY_S = 5.0
ASK_EVERY_S = 30.0
"""The controller serves a whole cluster: --watch asks it less often than it reads files."""


@app.command()
def status(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR|RUN]...",
            help="Corpora, token shards and training runs.",
            show_default="all that this account has submitted",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every 5 s (30 s in a log) until nothing is at work.")
    ] = False,
    json: Json = False,
) -> None:
    """Show how far corpora, packs and runs are, who works on them, what failed, and what jobs wait for.

    It needs no accounting of Slurm, and without Slurm's controller it shows what is in files. Ends with 1
    when something failed or was given up.
    """
    from pipeline.cli.looks import cannot_look, look
    from slurm.submissions import current, directories_of_account, jobs_of

    queue = Queue()
    while True:
        found, unread = {}, []
        for directory in directories or directories_of_account():
            try:
                found[directory] = current(directory)
            except OSError as error:
                unread.append(cannot_look(directory, error))
        tasks = queue.ask(jobs_of(chain.from_iterable(found.values())))
        looks = [*(look(directory, each, tasks) for directory, each in found.items()), *unread]
        blocks = ["\n".join(seen.lines) for seen in looks] or ["nothing was submitted from this account"]
        if queue.trouble:
            blocks.append(f"the queue is unknown: {queue.trouble}")
        clear = "\x1b[2J\x1b[H" if watch and sys.stdout.isatty() else ""
        result = {"queue": queue.trouble or "known", "directories": [seen.result for seen in looks]}
        emit(result, json, clear + "\n\n".join(blocks))
        if not watch or not any(seen.is_busy for seen in looks):
            break
        time.sleep(LOOK_EVERY_S if clear else ASK_EVERY_S)
    if any(seen.has_failed for seen in looks):
        raise typer.Exit(1)


@dataclass
class Queue:
    """The last answer of `squeue`, asked again after a while. trouble: why it did not answer."""

    trouble: str = ""
    _tasks: list[Queued] | None = None
    _jobs: Sequence[Job] | None = None
    _asked: float = 0.0

    def ask(self, jobs: Sequence[Job]) -> list[Queued] | None:
        """The tasks of some jobs that wait or run; None when Slurm does not answer."""
        from slurm.queue import SlurmError, squeue

        if jobs != self._jobs or time.monotonic() - self._asked >= ASK_EVERY_S:
            try:
                self._tasks, self.trouble = squeue(jobs), ""
            except SlurmError as error:
                self._tasks, self.trouble = None, str(error)
            self._jobs, self._asked = jobs, time.monotonic()
        return self._tasks
