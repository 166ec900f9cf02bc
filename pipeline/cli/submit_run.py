"""`outbound submit train` and `finetune`: all is checked and frozen, and trains as a job or as a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from dataprep.errors import DataError
from pipeline.cli.app import Json, console
from pipeline.cli.configs import Cluster, FinetuneFile, RunFile
from pipeline.cli.submitting import (
    DryRun,
    begun,
    hand_over,
    refuse_running,
    report,
    submit_app,
)
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from slurm.profile import TrainProfile
    from slurm.submissions import Submission

T = TypeVar("T")

FROZEN = "config.yaml"
"""The checked configuration, in the folder of the submission: the job reads this file and no other."""

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings over the file's.")
]
MaxRestarts = Annotated[
    int, typer.Option(min=0, help="Starts that may fail before the run is given up; stops do not count.")
]
Chain = Annotated[
    int,
    typer.Option(
        min=1,
        help="Submit so many jobs that follow each other, for clusters that queue no job again.",
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Submit a run that trains already: its waiting jobs are cancelled, running ones save and end.",
    ),
]


@submit_app.command("train")
def submit_train(
    config: RunFile,
    cluster: Cluster,
    overrides: Overrides = None,
    max_restarts: MaxRestarts = 20,
    chain: Chain = 1,
    take_over: TakeOver = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train CONFIG on a cluster: one process a GPU, requeued and resumed at the time limit.

    The whole run is checked first. What was checked is stored in the folder of the submission, and that is
    what the job trains, also when CONFIG changes later. On a dry run the tokens need not be packed yet.
    """
    from pipeline.cli.run_checks import checked_run
    from pipeline.config import save_config
    from slurm import profile

    words = overrides or []
    settings, asked = _checked(
        lambda: checked_run(config, words, profile.processes(cluster), dry_run)[0], cluster
    )
    how = _How(max_restarts, chain, take_over, dry_run, json)
    _submit("train", config, settings.run.dir, cluster, asked, partial(save_config, settings), how)


@submit_app.command("finetune")
def submit_finetune(
    config: FinetuneFile,
    cluster: Cluster,
    overrides: Overrides = None,
    max_restarts: MaxRestarts = 20,
    chain: Chain = 1,
    take_over: TakeOver = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fine-tune by CONFIG on a cluster, one process a GPU, as `outbound submit train` trains."""
    from pipeline.cli.run_checks import checked_finetuning
    from pipeline.finetune.settings import save_config

    settings, asked = _checked(lambda: checked_finetuning(config, overrides or []), cluster)
    how = _How(max_restarts, chain, take_over, dry_run, json)
    _submit("finetune", config, settings.finetune.dir, cluster, asked, partial(save_config, settings), how)


@dataclass(frozen=True)
class _How:
    """The options by which a run is submitted."""

    max_restarts: int
    chain: int
    take_over: bool
    dry_run: bool
    json: bool


def _submit(
    command: str,
    config: Path,
    run: Path,
    cluster: Path,
    asked: TrainProfile,
    freeze: Callable[[Path], None],
    how: _How,
) -> None:
    """Submit what a command trains in a directory, or print the script. freeze: writes what was checked."""
    from slurm import script

    if not (how.dry_run or how.take_over):
        refuse_running(command, run, "let the new job take over with --take-over, or ")
        _refuse_alive(run)
    with begun(command, run, cluster, how.dry_run) as submission:
        frozen = submission.logs / FROZEN
        if not how.dry_run:
            freeze(frozen)
        job = script.train(str(config), ["outbound", command, str(frozen)], how.max_restarts)
        jobs = script.chain(job, run, how.chain) if how.chain > 1 else [job]
        scripts = hand_over(submission, {job.part: asked}, jobs, how.dry_run)
    relieved = {"taken_over": _relieve(submission)} if how.take_over and not how.dry_run else {}
    report(submission, scripts, how.dry_run, how.json, **relieved)


def _checked(read: Callable[[], T], cluster: Path) -> tuple[T, TrainProfile]:
    """Settings and a profile without mistakes. Raises an error with all those of both files."""
    from slurm import profile

    refused: list[DataError | RunError] = []
    try:
        settings = read()
    except (DataError, RunError) as error:
        refused.append(error)
    try:
        asked = profile.load_train(cluster)
    except profile.ProfileError as error:
        refused.append(UsageError(str(error)))
    if len(refused) > 1:
        raise UsageError("\n".join(map(str, refused)))
    if refused:
        raise refused[0]
    return settings, asked


def _refuse_alive(run: Path) -> None:
    """Raise RunError while an attempt seems to train that is no job of this directory's submissions."""
    from pipeline.checkpoint import attempts
    from slurm.submissions import jobs_of, of_directory

    own = {job.id for job in jobs_of(of_directory(run))}
    for place in (run, *run.glob("seed-*")):  # each seed of a fine-tuning has attempts
        record = attempts.alive(place)
        if record and record.job not in own:
            raise RunError(
                f"{place}: attempt {record.number} on {record.host} seems to train here: it has not ended, "
                f"and has written within the last {attempts.SILENT_S / 60:.0f} minutes; stop it "
                f"(process {record.pid}), or let the new job take over with --take-over"
            )


def _relieve(submission: Submission) -> list[str]:
    """End the jobs of earlier submissions of a run; the ids of those that were in the queue."""
    from slurm import queue
    from slurm.submissions import jobs_of, of_directory

    earlier = [
        each
        for each in of_directory(submission.directory)
        if each.kind == submission.kind and each.logs != submission.logs
    ]
    try:
        return queue.make_way(jobs_of(earlier))
    except queue.SlurmError as error:
        text = f"the new job is in the queue, but jobs before it may go on until it starts: {error}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        return []
