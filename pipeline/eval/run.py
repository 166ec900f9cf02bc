"""Run one evaluation from requests to results, alone or with other workers."""

from __future__ import annotations

import shutil
from contextlib import closing, suppress
from pathlib import Path

from dataprep.store.claiming import Claiming
from dataprep.store.files import hash_file
from dataprep.store.pool import Progress
from dataprep.store.presence import Presence
from dataprep.store.step import Executor, read_step, remove_step, run_steps
from dataprep.store.workers import is_anyone_at_work, workers_folder
from pipeline.errors import RunError
from pipeline.eval.evaluation import Evaluation
from pipeline.eval.steps import RESULTS_STEP, STEPS
from pipeline.monitor.evaluations import RESULTS

STAGE = "eval"
"""The stage of a worker that evaluates."""
HUNG_S = 4 * 3600.0
"""Time without progress after which a part is ended: a large model writes long texts slowly on a CPU."""


class CheckpointGone(RunError):
    """A training has let go of the checkpoint before it was held."""


def evaluate(evaluation: Evaluation, execute: Executor, progress: Progress) -> Path:
    """Do what is left of an evaluation; returns its `results.json`.

    Any number of processes may do this at once. Raises CheckpointGone when the training has let go of the
    checkpoint before this one could keep it.
    """
    results = evaluation.folder / RESULTS
    judged = STEPS[-1]
    if judged.is_whole(evaluation) and not _stand(evaluation):
        remove_step(judged, evaluation)
    if not judged.is_whole(evaluation):
        try:
            evaluation.model.hold(evaluation.held)
        except FileNotFoundError:
            raise CheckpointGone(
                f"{evaluation.model.checkpoint}: the training has let go of it; run the command again, which "
                "takes the newest checkpoint"
            ) from None
    run_steps(STEPS, evaluation, execute, progress)
    shutil.rmtree(evaluation.held, ignore_errors=True)
    return results


def join(evaluation: Evaluation, presence: Presence, progress: Progress) -> Path:
    """Evaluate together with all processes that call this, on machines that share the disk.

    Raises GivenUp when parts failed too often, BadMachine when this machine cannot go on, and Stopped when it
    was asked to end before.
    """
    with presence.kept(), closing(Claiming(presence, hung_s=HUNG_S)) as claiming:
        results = evaluate(evaluation, claiming, progress)
    _tidy(presence.root)
    return results


def _stand(evaluation: Evaluation) -> bool:
    """Whether the files of the results are there as they were written."""
    outputs = read_step(evaluation, RESULTS_STEP).parts[0].outputs.values()
    paths = [(evaluation.root / output.path, output) for output in outputs]
    return all(path.is_file() and hash_file(path) == output.xxh3_128 for path, output in paths)


def _tidy(evaluations: Path) -> None:
    """Remove the files of the workers when the last of them has ended."""
    if is_anyone_at_work(evaluations):
        return
    workers = workers_folder(evaluations)
    shutil.rmtree(workers, ignore_errors=True)
    for path in (*sorted(workers.parent.rglob("*"), reverse=True), workers.parent):
        with suppress(OSError):
            path.rmdir()  # unless another evaluation is planned there
