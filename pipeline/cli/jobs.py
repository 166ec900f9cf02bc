"""`outbound logs` and `outbound cancel`: what jobs and runs have written, and how to end them well."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import Json, app, console, emit
from pipeline.cli.status import Queue
from pipeline.errors import RunError, UsageError
from slurm.codes import STOPPED

if TYPE_CHECKING:
    from slurm.submissions import Submission

SHOWN = 10
"""Logs that are printed at once: those that were written last."""
TAIL_BYTES = 1 << 16
POLL_S = 1.0

_BEGUN = re.compile(rb"^job \S+, start (\d+), on ", re.MULTILINE)
"""The line that the script of a training job prints when it starts."""

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
    """Print the ends of the logs of the jobs that were submitted for a corpus, token shards or a run.

    Of a run also the log of its newest attempt; with --failed, each start that failed with its cause.
    """
    submissions = _submissions(directory, or_run=True)
    if failed:
        failures = list(_failures(directory, submissions))
        blocks = [_block(each.what, each.log, lines, each.start) for each in failures]
        result = {"failed": [{"what": each.what, "log": each.log} for each in failures]}
        emit(result, json, "\n\n".join(blocks) or "nothing has failed")
        return
    found = {path: path.stat() for path in _log_files(directory, submissions)}
    newest = sorted(found, key=lambda path: found[path].st_mtime)
    blocks = [_block(str(path), str(path), lines) for path in newest[-SHOWN:]]
    if len(newest) > SHOWN:
        blocks.insert(0, f"{len(newest) - SHOWN:,} other logs are in {submissions[-1].logs}")
    emit({"logs": [str(path) for path in newest]}, json, "\n\n".join(blocks) or "no task has begun")
    if follow:
        _follow(directory, submissions, {path: stat.st_size for path, stat in found.items()})


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


def _submissions(directory: Path, or_run: bool = False) -> list[Submission]:
    """The current submissions; or_run: there may be none for a run, which writes a log in any case."""
    from pipeline.checkpoint.attempts import runs_of
    from slurm.submissions import current

    found = current(directory)
    if not found and not (or_run and (runs_of(directory)[-1] / "attempts").is_dir()):
        raise UsageError(f"{directory}: nothing was submitted for it (`outbound submit --help`)")
    return found


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """What failed, in one line, and where its log is. start: number of the start that a part of it is of."""

    what: str
    log: str
    start: int = 0


def _failures(directory: Path, submissions: Sequence[Submission]) -> Iterator[_Failure]:
    from dataprep.audit.under_way import open_steps
    from pipeline.checkpoint import attempts
    from slurm.starts import starts
    from slurm.state import job_states
    from slurm.submissions import jobs_of

    for step in open_steps(directory):
        for part in step.failed:
            what = f"{step.step} of {step.place}, {part.part}, try {part.tries}"
            what += f", on {part.last.host}: {part.last.kind}: {part.last.reason}"
            yield _Failure(what=what, log=part.last.log)
    for run in attempts.runs_of(directory):
        yield from _failed_attempts(run)
    named: dict[str, bool] = {}  # whether the last start of a job gives the cause of its end
    for submission in submissions:
        for start in starts(submission.logs):
            if start.has_failed:
                what = f"start {start.number}, of job {start.job}: {start.cause}"
                log = f"{submission.logs}/{start.job}.log"
                yield _Failure(what=what, log=log, start=start.number)
            named[start.job] = start.has_failed
    queue = Queue().ask(jobs_of(submissions))
    for job in (job for submission in submissions for job in job_states(submission, queue)):
        why = {task: f"exit code {code}" for task, code in job.failed.items()}
        for task, reason in (why | dict.fromkeys(job.lost, "left no exit code")).items():
            if not named.get(task):
                yield _Failure(what=f"job {task}, {reason}", log=f"{job.logs}/{task}.log")


def _failed_attempts(run: Path) -> Iterator[_Failure]:
    """The attempts of a run that failed outside of Slurm."""
    from pipeline.checkpoint import attempts

    for number in attempts.numbers(run):
        record = attempts.read(run, number)
        if record.ended and not record.job and record.ended.code not in STOPPED | {0}:
            what = f"attempt {number}: {record.ended.reason}"
            yield _Failure(what=what, log=str(attempts.folder(run.resolve(), number) / "log.txt"))


def _block(title: str, log: str, lines: int, start: int = 0) -> str:
    """The end of a log under a title; start: only what this start of a job has written."""
    path = Path(log)
    head = title if title == log or not log else f"{title}\n{log}"
    return "\n".join([f"==> {head} <==", *(_tail(path, lines, start) if log and path.exists() else [])])


def _tail(path: Path, lines: int, start: int) -> list[str]:
    with path.open("rb") as file:
        begin, end = _part_of_start(file.read(), start) if start else (0, path.stat().st_size)
        begin = max(begin, end - TAIL_BYTES)
        file.seek(begin)
        found = file.read(end - begin).decode(errors="replace").splitlines()
    return found[-lines:] if lines else []


def _part_of_start(log: bytes, start: int) -> tuple[int, int]:
    """Where in the log of a job the output of one of its starts begins and ends.

    >>> log = b"job 8, start 1, on node1\\nkilled\\njob 8, start 2, on node2\\n"
    >>> log[slice(*_part_of_start(log, 1))]
    b'job 8, start 1, on node1\\nkilled\\n'
    """
    begun = {int(found[1]): found.start() for found in _BEGUN.finditer(log)}
    begin = begun.get(start, len(log))
    return begin, min((place for place in begun.values() if place > begin), default=len(log))


def _follow(directory: Path, submissions: Sequence[Submission], read: dict[Path, int]) -> None:
    """Print what is added to logs, until nothing is at work. read: bytes of each that were printed."""
    from slurm.submissions import jobs_of

    queue, jobs = Queue(), jobs_of(submissions)
    last: Path | None = None
    going = True
    while True:
        for path in sorted(_log_files(directory, submissions)):
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
        going = queue.ask(jobs) != [] if jobs else _is_at_work(directory)  # also when Slurm does not answer


def _is_at_work(directory: Path) -> bool:
    from pipeline.checkpoint.attempts import runs_of
    from pipeline.monitor.run_status import run_status

    seen = run_status(runs_of(directory)[-1])
    return seen is None or seen.is_at_work


def _log_files(directory: Path, submissions: Sequence[Submission]) -> Iterator[Path]:
    """The logs of jobs, and that of a run's, or of a fine-tuning's, newest attempt."""
    from pipeline.checkpoint import attempts

    for submission in submissions:
        yield from submission.logs.glob("*.log")
    run = attempts.runs_of(directory.resolve())[-1]
    logs = (attempts.folder(run, number) / "log.txt" for number in reversed(attempts.numbers(run)))
    yield from islice((path for path in logs if path.exists()), 1)
