"""A training run at one moment: where it stands, its starts on a cluster, and whether it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pipeline.checkpoint.attempts import runs_of
from pipeline.cli.app import duration
from pipeline.monitor.run_status import RunStatus, run_status
from slurm.starts import AGAIN, GIVEN_UP, Start, starts
from slurm.state import JobState

CAUSES = 5
"""Causes that are named, the last of them; --json has all."""


@dataclass(frozen=True, kw_only=True)
class RunLook:
    """A run with the jobs of its submissions; of a fine-tuning, the seed that began last."""

    run: RunStatus | None
    """None before its first attempt has begun."""
    jobs: Sequence[JobState]
    starts: Sequence[Start]
    """Starts of the newest submission."""

    @staticmethod
    def at(directory: Path, jobs: Sequence[JobState]) -> RunLook:
        """Look at it now. Raises DataError when a file is damaged."""
        found = starts(Path(jobs[-1].logs)) if jobs else []
        return RunLook(run=run_status(runs_of(directory)[-1]), jobs=jobs, starts=found)

    @property
    def is_queued(self) -> bool:
        """Whether a job of it waits or runs."""
        return any(job.is_queued for job in self.jobs)

    @property
    def goes_on(self) -> bool:
        """Whether somebody trains, or will, as far as can be known: Slurm may not answer."""
        if self.is_queued or any(job.unknown for job in self.jobs):
            return True
        return self.run is not None and self.run.is_at_work and not self._is_ours(self.run)

    def _is_ours(self, run: RunStatus) -> bool:
        """Whether the newest attempt belongs to one of the jobs: others begin at a desk, say."""
        return run.job in {job.id for job in self.jobs}

    @property
    def ended_for_good(self) -> str:
        """Why nothing will follow, although it was not trained to its end; "" while something may."""
        if self.goes_on or (self.run and self.run.is_done):
            return ""
        if self.given_up:
            return self.given_up
        if self.run is None:
            return "its job has ended before the first attempt has begun" if self.jobs else ""
        if self.run.is_stopped and not self._is_ours(self.run):
            return ""  # the same command continues, whenever somebody gives it
        how = f"ended with code {self.run.code}: {self.run.reason}"
        ended = how if self.run.code is not None else "was killed"
        return f"attempt {self.run.attempt} {ended}; nothing goes on with it"

    @property
    def given_up(self) -> str:
        """Why the newest submission was given up; "" when it was not."""
        last = self.starts[-1].next if self.starts else ""
        return last if last.startswith(GIVEN_UP) and not self.is_queued else ""

    @property
    def left_out(self) -> list[str]:
        """Nodes that later starts do not use."""
        return sorted({node for start in self.starts for node in start.left_out})

    @property
    def has_failed(self) -> bool:
        """Whether it stands still and was not trained to its end, nor stopped as asked."""
        if self.is_queued:
            return False
        is_done, failed = (self.run.is_done, self.run.has_failed) if self.run else (False, False)
        if not self.jobs:
            return failed
        # Jobs of a chain that were cancelled before they began have not failed.
        last = next((job for job in reversed(self.jobs) if job.has_begun), None) or self.jobs[-1]
        return failed or bool(last.failed or self.given_up or (last.lost and not is_done))

    @property
    def log(self) -> str:
        """Where its newest lines are; "" when it has written none."""
        of_jobs = (str(job.log) for job in reversed(self.jobs) if job.log.exists())
        return next(of_jobs, self.run.log if self.run else "")

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.run:
            yield from _run_lines(self.run)
        else:
            yield "has not begun"
        if self.starts:
            yield from self._start_lines()
        if self.log:
            yield f"log: {self.log}"
        if self.run and self.run.wandb:
            yield f"Weights & Biases: {self.run.wandb}"

    def _start_lines(self) -> Iterator[str]:
        """The newest start, and how those before it ended."""
        last = self.starts[-1]
        causes = [
            (cause, len(list(same)))
            for cause, same in groupby(start.cause for start in self.starts if start.ended is not None)
        ]
        named = [f"{cause} ({times} times)" if times > 1 else cause for cause, times in causes[-CAUSES:]]
        if len(causes) > CAUSES:
            named.insert(0, "...")
        told = "; ".join(named)
        if last.ended is None:
            yield f"start {last.number} on {last.nodes}" + (f"; those before: {told}" if told else "")
        else:
            yield f"starts: {last.number}; they ended: {told}"
        if self.left_out:
            yield f"nodes left out: {', '.join(self.left_out)}"
        if self.given_up:
            yield self.given_up
        elif last.next in (AGAIN, "") and not self.goes_on:
            yield "no job is in the queue that goes on with it: submit it again"


def _run_lines(run: RunStatus) -> Iterator[str]:
    line = f"step {run.step:,}, {run.tokens:,} of {run.of_tokens:,} tokens"
    if run.loss is not None:
        line += f", loss {run.loss:.4f}"
    line += "".join(f", {name.replace('/', ' ')} {score:.4f}" for name, score in run.scores.items())
    if run.tokens_per_s and run.left_s and run.code is None:
        line += f", {run.tokens_per_s:,.0f} tokens/s, about {duration(run.left_s)} left"
    yield line
    where = f"attempt {run.attempt} on {run.nodes or run.host}"
    saved = f"; newest checkpoint: step {run.checkpoint:,}" if run.checkpoint is not None else ""
    if run.checkpoint_age_s is not None:
        saved += f", {duration(run.checkpoint_age_s)} ago"
    ended = f", ended with code {run.code}: {run.reason}" if run.code is not None else ""
    last = f", last row {duration(run.told_s)} ago" if run.told_s is not None and run.code is None else ""
    yield f"{where}{ended}{last}{saved}"
