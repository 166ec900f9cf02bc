"""`outbound submit train`: the whole run is checked and frozen, then handed to Slurm as a job or a chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataprep.errors import DataError
from pipeline.cli.app import Json, console
from pipeline.cli.submitting import (
    Cluster,
    DryRun,
    begun,
    hand_over,
    refuse_running,
    report,
    submit_app,
)
from pipeline.errors import RunError, UsageError

if TYPE_CHECKING:
    from pipeline.config import RunConfig
    from slurm.profile import TrainProfile
    from slurm.submissions import Submission

FROZEN = "config.yaml"
"""The checked configuration, in the folder of the submission: the job reads this file and no other."""

Config = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Training configuration (YAML).")]
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
    config: Config,
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
    from pipeline.config import save_config
    from slurm import script

    settings, asked = _checked(config, overrides or [], cluster, dry_run)
    run = settings.run.dir
    if not (dry_run or take_over):
        refuse_running("train", run, "let the new job take over with --take-over, or ")
        _refuse_alive(run)
    with begun("train", run, cluster, dry_run) as submission:
        frozen = submission.logs / FROZEN
        if not dry_run:
            save_config(settings, frozen)
        job = script.train(str(config), ["outbound", "train", str(frozen)], max_restarts)
        jobs = script.chain(job, run, chain) if chain > 1 else [job]
        scripts = hand_over(submission, {job.part: asked}, jobs, dry_run)
    relieved = {"taken_over": _relieve(submission)} if take_over and not dry_run else {}
    report(submission, scripts, dry_run, json, **relieved)


def _checked(
    config: Path, overrides: list[str], cluster: Path, ahead: bool
) -> tuple[RunConfig, TrainProfile]:
    """A run and a profile without mistakes. Raises an error with all those of both files."""
    from pipeline.cli.run_checks import checked_run
    from slurm import profile

    refused: list[DataError | RunError] = []
    try:
        settings, _ = checked_run(config, overrides, profile.processes(cluster), ahead)
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

    record = attempts.alive(run)
    if record and record.job not in {job.id for job in jobs_of(of_directory(run))}:
        raise RunError(
            f"{run}: attempt {record.number} on {record.host} seems to train here: it has not ended, and has "
            f"written within the last {attempts.SILENT_S / 60:.0f} minutes; stop it (process {record.pid}), "
            "or let the new job take over with --take-over"
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
