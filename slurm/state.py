"""How submitted jobs are: by the queue, and by the exit codes that their tasks have left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm.codes import STOPPED
from slurm.queue import Queued
from slurm.submissions import Submission, exit_codes


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job, or all tasks of an array.

    waiting: tasks by the reason for which they wait. failed: exit codes by task. lost: tasks that are not in
    the queue and left no exit code: they were killed, or cancelled before they began. unknown: while Slurm
    does not answer, tasks that have no exit code, or were stopped and may be in the queue again.
    """

    id: str
    name: str
    kind: str
    tasks: int
    running: int
    waiting: dict[str, int]
    done: int
    stopped: int
    failed: dict[str, int]
    lost: list[str]
    unknown: int
    logs: str

    @property
    def is_queued(self) -> bool:
        return bool(self.running or self.waiting)

    @property
    def log(self) -> Path:
        """The log of a job that is no array; Slurm makes it when the job begins."""
        return Path(self.logs) / f"{self.id}.log"

    @property
    def has_begun(self) -> bool:
        """Whether a job that is no array is known to have begun, or may yet begin."""
        return not self.lost or self.log.exists()

    @property
    def has_failed(self) -> bool:
        return bool(self.failed or self.lost)


def job_states(submission: Submission, queue: Sequence[Queued] | None) -> list[JobState]:
    """The jobs of a submission; queue: None when Slurm does not answer."""
    ended = exit_codes(submission)
    states = []
    for job in submission.jobs:
        tasks = [f"{job.id}_{number}" for number in range(job.workers)] or [job.id]
        queued = {task.task: task for task in queue or () if task.job == job.id}
        waiting = [task.reason for task in queued.values() if task.state == "PENDING"]
        codes = {task: ended[task] for task in tasks if task in ended and task not in queued}
        traceless = [task for task in tasks if task not in ended and task not in queued]
        if queue is None:
            traceless += [task for task, code in codes.items() if code in STOPPED]
            codes = {task: code for task, code in codes.items() if code not in STOPPED}
        states.append(
            JobState(
                id=job.id,
                name=job.name,
                kind=submission.kind,
                tasks=len(tasks),
                running=len(queued) - len(waiting),
                waiting=dict(Counter(waiting)),
                done=sum(code == 0 for code in codes.values()),
                stopped=sum(code in STOPPED for code in codes.values()),
                failed={task: code for task, code in codes.items() if code and code not in STOPPED},
                lost=[] if queue is None else traceless,
                unknown=len(traceless) if queue is None else 0,
                logs=str(submission.logs),
            )
        )
    return states


def chain(jobs: Sequence[JobState]) -> JobState:
    """The jobs of a chain as one. Those that never began are not lost, once another has begun."""
    begun = [job for job in jobs if job.has_begun] or jobs
    return JobState(
        id=f"{jobs[0].id} ... {jobs[-1].id}",
        name=jobs[0].name,
        kind=jobs[0].kind,
        tasks=len(jobs),
        running=sum(job.running for job in jobs),
        waiting=dict(sum((Counter(job.waiting) for job in jobs), Counter())),
        done=sum(job.done for job in jobs),
        stopped=sum(job.stopped for job in jobs),
        failed={task: code for job in jobs for task, code in job.failed.items()},
        lost=[task for job in begun for task in job.lost],
        unknown=sum(job.unknown for job in jobs),
        logs=jobs[0].logs,
    )
