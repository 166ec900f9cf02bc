"""The checkpoints of a run, as its training saves them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from model.hf_directory import CONFIG
from pipeline.checkpoint import attempts
from pipeline.checkpoint import format as checkpoints
from pipeline.errors import RunError, UsageError
from pipeline.eval.trained_model import TrainedModel, of_checkpoint
from slurm.codes import RESUME_EXIT

POLL_S = 10.0


def each_checkpoint(run: Path, evaluations: Path, poll_s: float = POLL_S) -> Iterator[TrainedModel]:
    """Yield each whole checkpoint of a run, the oldest that is there first, until the run has ended.

    Checkpoints that a killed evaluation still holds come first. A checkpoint that the training lets go of
    meanwhile is skipped. A run that was killed, or stopped to resume later, has not ended. Raises UsageError
    when there is no run.
    """
    if not run.is_dir() or (run / CONFIG).exists():
        raise UsageError(f"--watch: {run} is no run; give one whose training has begun")
    seen, yielded = set[Path](), set[str]()
    held = sorted(evaluations.glob("*/*/held/checkpoints/step-*"), key=lambda path: path.name)
    while True:
        ended = has_ended(run)  # before the look, which then sees the last checkpoint
        for path in [*held, *reversed([*checkpoints.newest(run)])]:
            if path not in seen:
                seen.add(path)
                if (found := _whole(run, path)) and found.weights not in yielded:
                    yielded.add(found.weights)
                    yield found
        if ended:
            return
        time.sleep(poll_s)


def has_ended(run: Path) -> bool:
    """Whether the attempt that owns the run has ended for good."""
    number = attempts.latest(run)
    ended = attempts.read(run, number).ended if number else None
    return ended is not None and ended.code != RESUME_EXIT


def _whole(run: Path, path: Path) -> TrainedModel | None:
    try:
        checkpoint = checkpoints.first_whole([path])
    except (RunError, OSError):
        if path.exists():
            raise
        return None
    return of_checkpoint(run, checkpoint) if checkpoint else None
