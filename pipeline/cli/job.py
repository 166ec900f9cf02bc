"""`outbound job`: what the script of a training job runs before and after its processes.

It looks at files and at Slurm, and decides whether the job is queued again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from dataprep.errors import DataError
from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import AttemptRecord
from pipeline.checkpoint.format import saved_in, step_of
from pipeline.cli.app import app, console
from slurm import ends, queue, starts, submissions
from slurm.codes import BAD_NODE_EXIT, RESUME_EXIT, SUPERSEDED_EXIT, USAGE_EXIT
from slurm.ends import Failure
from slurm.profile import seconds
from slurm.queue import SlurmError
from slurm.starts import AGAIN, DONE, Start

CLEAR = frozenset([0, USAGE_EXIT, RESUME_EXIT, SUPERSEDED_EXIT])
"""With these codes, the first process of a run knows why it ended; with others, it may have lost another."""
PAUSES_S = (5, 15, 30)
"""Between tries to queue a job again: the controller may be busy, or start anew."""

job_app = typer.Typer(help="Run by the scripts of training jobs.", no_args_is_help=True)
app.add_typer(job_app, name="job", hidden=True)

Run = Annotated[Path, typer.Argument(help="The run.")]
Logs = Annotated[Path, typer.Argument(help="The folder of the submission.")]
MaxRestarts = Annotated[int, typer.Option(min=0, help="How many starts may fail.")]


@job_app.command("begin")
def begin(run: Run, logs: Logs, max_restarts: MaxRestarts) -> None:
    """Note a start and print its number; print nothing when the run is trained to its end."""
    if later := submissions.later_for_run(run, logs):
        _print(f"a later submission of the run has taken over: {later.logs}")
        return
    before = starts.starts(logs)
    if before and before[-1].ended is None:
        _close(run, logs, before, None, max_restarts)
    following = before[-1].next if before else AGAIN
    if following == DONE:
        _print(f"start {before[-1].number} has ended the run: {before[-1].cause}")
        return
    if following != AGAIN:
        _print(following)
        raise typer.Exit(1)
    env = os.environ
    restart, nodes = int(env.get("SLURM_RESTART_COUNT", 0)), env.get("SLURM_JOB_NODELIST", "")
    print(starts.begin(logs, env["SLURM_JOB_ID"], restart, nodes).number)


@job_app.command("end")
def end(
    run: Run,
    logs: Logs,
    number: Annotated[int, typer.Argument(help="The start's number.")],
    max_restarts: MaxRestarts,
    code: Annotated[int, typer.Option(help="srun's exit code.")],
    blind: Annotated[str, typer.Option(help="Nodes that lack the folder, by commas.")] = "",
    chained: Annotated[bool, typer.Option("--chained", help="Another job goes on.")] = False,
    terminated: Annotated[bool, typer.Option("--terminated", help="Slurm has ended the job.")] = False,
) -> None:
    """Note why a start ended, and queue the job again unless the run is done or given up."""
    started = starts.starts(logs)
    if started[-1].number != number:
        _print(f"start {started[-1].number} has begun since, so start {number} changes nothing")
        raise typer.Exit(code)
    last = _close(run, logs, started, code, max_restarts, blind)
    _print(f"start {number} ended: {last.cause}")
    if last.next == AGAIN:
        try:
            _go_on(logs, last, chained, terminated)
        except SlurmError as error:
            _print(f"the job is not queued again: {error}; submit the run again, or with --chain")
        raise typer.Exit(RESUME_EXIT)
    if last.next != DONE:
        _print(last.next)
    raise typer.Exit(last.code or 0)


def _close(
    run: Path, logs: Path, started: list[Start], code: int | None, max_restarts: int, blind: str = ""
) -> Start:
    """Note how the last of some starts ended.

    code: that of srun; None when its script was lost. blind: nodes without the folder, by commas.
    """
    start = started[-1]
    made = _attempts_of(run, start)
    own = made[-1][1].ended if made else None
    if own and own.code == 0 and code != 0 and made[-1][0].parents[1] != run:
        own = None  # one seed of a fine-tuning had ended, and not all of it
    failure = ends.first_failure(logs / "ends" / str(start.number))
    if blind:
        cause = f"{blind}: no {logs} there: is the shared file system mounted?"
        failure = Failure(code=BAD_NODE_EXIT, node="", cause=cause, bad_nodes=blind.split(","))
    start.ended, start.code = time.time(), code
    if begun := [(where, record) for where, record in made if record.origin]:
        start.checkpoint = sum(record.origin.step for _, record in begun if record.origin)
        start.saved = sum(_saved(where, record) for where, record in begun)
    if own and (own.code in CLEAR or not failure):
        start.code, start.cause = own.code, own.reason
    elif failure:
        start.code, start.cause, start.node = failure.code, failure.cause, failure.node
    elif code is None:
        start.cause = _why_lost(start)
    else:
        start.cause = f"srun ended with code {code}, and no process has noted why"
    start.left_out = starts.nodes_to_leave(started, [*failure.bad_nodes] if failure else [])
    start.next = starts.what_next(started, max_restarts)
    if start.next == AGAIN and submissions.later_for_run(run, logs):
        start.next = DONE  # for this job
    starts.note(logs, start)
    return start


def _attempts_of(run: Path, start: Start) -> list[tuple[Path, AttemptRecord]]:
    """The attempts that a start has made, the last last: one, or of a fine-tuning one for each seed."""
    found = []
    for place in (run, *run.glob("seed-*")):
        for number in reversed(attempts.numbers(place)):
            try:
                record = attempts.read(place, number)
            except DataError:
                continue  # training itself refuses it
            if (record.job, record.restart) == (start.job, start.restart):
                found.append((attempts.folder(place, number), record))
                break
    return sorted(found, key=lambda each: each[1].started)


def _saved(folder: Path, record: AttemptRecord) -> int:
    """The last step of an attempt that is stored: as a checkpoint, or as a model that is done."""
    saved = saved_in(folder)
    done = record.ended.step if record.ended and record.ended.code == 0 else 0
    return max(step_of(saved[0]) if saved else 0, done)


def _why_lost(start: Start) -> str:
    """Why a script left no word."""
    try:
        gone = queue.out_of_work(start.nodes)
    except SlurmError:
        gone = []
    if gone:
        return f"lost with its nodes that do not answer: {', '.join(gone)}"
    return "its script was killed: the job was preempted or queued again, or its node was lost"


def _go_on(logs: Path, last: Start, chained: bool, terminated: bool) -> None:
    """Let another start follow, on other nodes where some are to be left out.

    Raises SlurmError when Slurm refuses.
    """
    if chained:
        chain = submissions.of_folder(logs).jobs
        following = [task.job for task in queue.squeue(chain) if task.state == "PENDING"]
        if not following:
            raise SlurmError("this was the last of its chain")
        _leave_out(following, last.left_out)
        return
    known = queue.facts(last.job)
    if int(known["Restarts"]) != last.restart:
        _print("Slurm has queued the job again already")
        return
    if terminated and not _is_over_time(known):
        _print("Slurm has ended this start, and decides whether another follows")
    else:
        _requeue(last.job)
    _leave_out([last.job], last.left_out)


def _leave_out(jobs: list[str], nodes: list[str]) -> None:
    """Let the next start use other nodes; where there are too few others, it goes on with these."""
    if not nodes:
        return
    try:
        queue.leave_out(jobs, nodes)
        _print(f"the next start leaves out {', '.join(nodes)}")
    except SlurmError as error:
        _print(str(error))


def _is_over_time(known: dict[str, str]) -> bool:
    """Whether a job has reached its time limit, at which Slurm ends it for good."""
    run, limit = seconds(known["RunTime"]), seconds(known["TimeLimit"])
    return run is not None and limit is not None and run >= limit


def _requeue(job: str) -> None:
    for pause in (*PAUSES_S, None):
        try:
            queue.requeue(job)
            return
        except SlurmError:
            if pause is None:
                raise
            time.sleep(pause)


def _print(line: str) -> None:
    """To the job's log."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
