"""What all of `outbound submit` does: check, hand scripts to Slurm, and note what was submitted.

What can be checked here is checked before anything is submitted: a job may wait for days.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pipeline.cli.app import app, console, emit
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from slurm.profile import JobProfile
    from slurm.submissions import Job, Submission

T = TypeVar("T")

submit_app = typer.Typer(help="Run a command as a job of a Slurm cluster.", no_args_is_help=True)
app.add_typer(submit_app, name="submit")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the scripts; submit nothing.")]


def given_words(values: dict[str, Any]) -> list[str]:
    """The options that have a value, as words; an option with a list is repeated for each value in it."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
    pairs = ((name, each) for name, given in lists.items() for each in given if each is not None)
    return [word for name, value in pairs for word in (name, str(value))]


def submit(
    kind: str,
    directory: Path,
    cluster: Path,
    jobs: Sequence[Job],
    dry_run: bool,
    json: bool,
    beside: bool = False,
) -> None:
    """Submit jobs of workers, each after the one before it, or print their scripts.

    beside: also while jobs of this directory are in the queue. Otherwise workers try again what was given up.
    """
    from dataprep.audit.gc import VERIFY
    from dataprep.work import try_again
    from slurm import profile, submissions

    profiles = {job.part: _profile(partial(profile.load, part=job.part), cluster) for job in jobs}
    is_of_workers = kind in submissions.MAKING | submissions.VERIFYING
    if not dry_run and not beside:
        refuse_running(kind, directory)
    with begun(kind, directory, cluster, dry_run) as submission:
        scripts = hand_over(submission, profiles, jobs, dry_run)
        if is_of_workers and not (beside or dry_run):
            try_again(directory, VERIFY if kind in submissions.VERIFYING else "")
    report(submission, scripts, dry_run, json)


@contextmanager
def begun(kind: str, directory: Path, cluster: Path, dry_run: bool) -> Iterator[Submission]:
    """A submission to which jobs are added within the block; nothing of it stays when one is refused.

    Raises UsageError for a directory that Slurm cannot write to.
    """
    from slurm import submissions

    if {"\n", "\\"} & {*str(directory.resolve())}:
        raise UsageError(f"{directory}: Slurm cannot write logs there: rename it without \\ and line breaks")
    submission = submissions.begin(kind, directory, cluster, ["outbound", *sys.argv[1:]], dry_run)
    with nullcontext() if dry_run else _whole(submission):
        yield submission


def hand_over(
    submission: Submission, profiles: Mapping[str, JobProfile], jobs: Sequence[Job], dry_run: bool
) -> list[str]:
    """Give jobs to Slurm and note them; returns their scripts. On a dry run the scripts are only made."""
    from slurm import queue, submissions
    from slurm.script import render

    scripts = []
    for number, job in enumerate(jobs):
        if number and not job.is_chained:
            job.after = [jobs[number - 1].id or "ID-OF-THE-JOB-BEFORE"]
        scripts.append(render(profiles[job.part], job, submission.logs))
        if not dry_run:
            (submission.logs / f"{job.stage}.sbatch").write_text(scripts[-1])
            job.id = queue.sbatch(scripts[-1])
            submission.jobs.append(job)
            submissions.note(submission)
    return [*dict.fromkeys(scripts)]


def report(submission: Submission, scripts: Sequence[str], dry_run: bool, json: bool, **more: Any) -> None:
    """Print what was submitted, or the scripts of a dry run. more: further results."""
    from slurm import submissions

    if dry_run:
        emit({"scripts": scripts}, json, "\n".join(scripts))
        return
    try:
        submissions.note_for_account(submission)
    except OSError as error:  # the jobs are in the queue all the same
        message = f"{submissions.account_file()}: cannot be written ({error.strerror})"
        console.print(message, highlight=False, markup=False, soft_wrap=True)
    jobs = submission.jobs
    found = {job.id: {"name": job.name, "workers": job.workers, "after": job.after} for job in jobs}
    result = {"jobs": found, "logs": str(submission.logs), "directory": str(submission.directory), **more}
    emit(result, json, "\n".join([*map(_line, jobs), f"logs: {submission.logs}"]))


@contextmanager
def _whole(submission: Submission) -> Iterator[None]:
    """When one of the jobs is refused, or cannot be noted, cancel those that went before."""
    from slurm import queue

    try:
        yield
    except (queue.SlurmError, OSError) as error:
        with suppress(queue.SlurmError):
            queue.cancel([job.id for job in submission.jobs])
        shutil.rmtree(submission.logs, ignore_errors=True)
        if isinstance(error, OSError):
            raise
        raise RunError(str(error)) from None


def refuse_running(kind: str, directory: Path, remedy: str = "") -> None:
    """Raise RunError while jobs of this kind are in the queue for a directory.

    remedy: what else can be done than to end them, for jobs without workers.
    """
    from slurm import queue, submissions

    kinds = submissions.together(kind)
    jobs = [
        job
        for submission in submissions.of_directory(directory)
        if submission.kind in kinds
        for job in submission.jobs
    ]
    if ids := ", ".join(dict.fromkeys(task.job for task in asking(lambda: queue.squeue(jobs)))):
        stage = {submissions.MAKING: "", submissions.VERIFYING: " --stage verify"}.get(kinds)
        more = remedy if stage is None else f"add workers with `outbound submit more {directory}{stage}`, or "
        raise RunError(
            f"{directory}: job {ids} is in the queue already; {more}end it with `outbound cancel {directory}`"
        )


def asking(ask: Callable[[], T]) -> T:
    """Slurm's answer; raises RunError, with the reason in one line, when there is none."""
    from slurm.queue import SlurmError

    try:
        return ask()
    except SlurmError as error:
        raise RunError(str(error)) from None


def _profile(load: Callable[[Path], T], cluster: Path) -> T:
    """A part of a cluster profile."""
    try:
        return load(cluster)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _line(job: Job) -> str:
    """A submitted job for people."""
    workers = f", {job.workers} workers" if job.workers else ""
    after = f", after {' and '.join(job.after)}" if job.after else ""
    return f"job {job.id}: {job.name}{workers}{after}"
