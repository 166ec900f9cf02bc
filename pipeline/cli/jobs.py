"""`outbound logs` and `outbound cancel`: what submitted jobs have written, and how to end them well."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, app, console, emit
from pipeline.cli.status import Queue
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from slurm.submissions import Submission

SHOWN = 10
"""Logs that are printed at once: those that were written last."""
TAIL_BYTES = 1 << 16
POLL_S = 1.0

Directory = Annotated[
    Path, typer.Argument(metavar="DIR|RUN", help="A corpus, token shards or a run.", show_default=False)
]


@app.command()
def logs(
    directory: Directory,
    failed: Annotated[bool, typer.Option("--failed", help="Only of parts and tasks that failed.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what is written, until no task is in the queue.")
    ] = False,
    lines: Annotated[int, typer.Option(min=0, help="Lines of each log.")] = 20,
    json: Json = False,
) -> None:
    """Print the ends of the logs of the jobs that were submitted for a corpus, token shards or a run."""
    submissions = _submissions(directory)
    if failed:
        failures = list(_failures(directory, submissions))
        blocks = [_block(why, log, lines) for why, log in failures]
        result = {"failed": [{"what": why, "log": log} for why, log in failures]}
        emit(result, json, "\n\n".join(blocks) or "nothing has failed")
        return
    found = {path: path.stat() for path in _log_files(submissions)}
    newest = sorted(found, key=lambda path: found[path].st_mtime)
    blocks = [_block(str(path), str(path), lines) for path in newest[-SHOWN:]]
    if len(newest) > SHOWN:
        blocks.insert(0, f"{len(newest) - SHOWN:,} other logs are in {submissions[-1].logs}")
    emit({"logs": [str(path) for path in newest]}, json, "\n\n".join(blocks) or "no task has begun")
    if follow:
        _follow(submissions, {path: stat.st_size for path, stat in found.items()})


@app.command()
def cancel(
    directory: Directory,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that tasks have to save and end by themselves.")
    ] = 300,
    json: Json = False,
) -> None:
    """End all jobs of a corpus, token shards or a run: let them stop early, then cancel what is left.

    Nothing finished is lost: submit again, and the work goes on.
    """
    from slurm import queue
    from slurm.submissions import jobs_of, of_directory

    _submissions(directory)
    jobs = jobs_of(of_directory(directory))
    shown = None

    def tell(left: int) -> None:
        nonlocal shown
        if left != shown:
            console.print(f"waiting until {left} tasks have stopped", highlight=False)
        shown = left

    try:
        queued = {task.job for task in queue.squeue(jobs)}
        killed = 0
        for batch in (False, True):  # a run's processes get the signal themselves
            chosen = [job for job in jobs if job.id in queued and (job.part != "train") == batch]
            killed += queue.stop(chosen, batch, wait, tell)
    except queue.SlurmError as error:
        raise RunError(str(error)) from None
    late = f"; {killed} tasks had not stopped after {wait:.0f} s" if killed else ""
    text = f"{len(queued)} jobs ended{late}"
    emit({"jobs": sorted(queued), "killed": killed}, json, text if queued else "no job is in the queue")


def _submissions(directory: Path) -> list[Submission]:
    from slurm.submissions import current

    found = current(directory)
    if not found:
        raise UsageError(f"{directory}: nothing was submitted for it (`outbound submit --help`)")
    return found


def _failures(directory: Path, submissions: Sequence[Submission]) -> Iterator[tuple[str, str]]:
    """What failed, in one line each, and where its log is."""
    from dataprep.audit.under_way import open_steps
    from slurm.state import job_states
    from slurm.submissions import jobs_of

    for step in open_steps(directory):
        for part in step.failed:
            what = f"{step.step} of {step.place}, {part.part}, try {part.tries}"
            yield f"{what}, on {part.last.host}: {part.last.kind}: {part.last.reason}", part.last.log
    queue = Queue().ask(jobs_of(submissions))
    for job in (job for submission in submissions for job in job_states(submission, queue)):
        why = {task: f"exit code {code}" for task, code in job.failed.items()}
        for task, reason in (why | dict.fromkeys(job.lost, "left no exit code")).items():
            yield f"job {task}, {reason}", f"{job.logs}/{task}.log"


def _block(title: str, log: str, lines: int) -> str:
    """The end of a log under a title."""
    path = Path(log)
    head = title if title == log or not log else f"{title}\n{log}"
    return "\n".join([f"==> {head} <==", *(_tail(path, lines) if log and path.exists() else [])])


def _tail(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - TAIL_BYTES, 0))
        found = file.read().decode(errors="replace").splitlines()
    return found[-lines:] if lines else []


def _follow(submissions: Sequence[Submission], read: dict[Path, int]) -> None:
    """Print what is added to logs, until no task is in the queue. read: bytes of each that were printed."""
    from slurm.submissions import jobs_of

    queue, jobs = Queue(), jobs_of(submissions)
    last: Path | None = None
    going = True
    while True:
        for path in sorted(_log_files(submissions)):
            with path.open("rb") as file:
                file.seek(read.get(path, 0))
                added = file.read()
            if not added:
                continue
            read[path] = read.get(path, 0) + len(added)
            head = f"\n==> {path} <==\n" if path != last else ""
            sys.stdout.write(head + added.decode(errors="replace"))
            sys.stdout.flush()
            last = path
        if not going:
            return
        time.sleep(POLL_S)
        going = queue.ask(jobs) != []  # also when Slurm does not answer


def _log_files(submissions: Sequence[Submission]) -> Iterator[Path]:
    return (path for submission in submissions for path in submission.logs.glob("*.log"))
