"""`outbound wandb-sync`: runs to Weights & Biases, from wherever there is a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataprep.errors import DataError
from pipeline.cli.app import Json, app, console, emit, progress
from pipeline.cli.status import Queue
from pipeline.errors import RunError

if TYPE_CHECKING:
    from pipeline.monitor.wandb_sync import WandbSync


@app.command("wandb-sync")
def wandb_sync(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories of training runs.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until all runs are trained to their end.")
    ] = False,
    json: Json = False,
) -> None:
    """Send to Weights & Biases the steps that it lacks, each once, from the metrics of the runs.

    What the server has decides which steps are sent: the command may be killed and repeated, on any machine
    that sees the runs. A step is sent once the next one has begun. The command uses WANDB_BASE_URL,
    WANDB_API_KEY, WANDB_ENTITY and what `wandb login` has stored. With --watch it follows a run over all its
    starts, and ends with 1 when nothing goes on with one that is not at its end.
    """
    from pipeline.monitor.wandb_sync import WandbSync, pause_s

    problems: dict[Path, str] = {}
    with progress("sent", None, "steps") as advance:
        syncs = [WandbSync(run, advance) for run in runs]
        going = [(sync, Queue() if watch else None) for sync in syncs]
        while True:
            began = time.process_time()
            going = [(sync, queue) for sync, queue in going if _update(sync, queue, problems)]
            if not going:
                break
            time.sleep(pause_s(time.process_time() - began))
    reports = [report for sync in syncs if (report := sync.report())]
    emit({"runs": reports}, json, "\n".join(map(_text, reports)))
    if problems:
        raise RunError("; ".join(problems.values()))


def _update(sync: WandbSync, queue: Queue | None, problems: dict[Path, str]) -> bool:
    """Send what one run has, and note its problem by its directory; return whether to come back to it.

    queue: Slurm's, while watching. A problem is then printed when it appears: the other runs may go on for
    weeks.
    """
    from pipeline.monitor.wandb_server import NotBegun, TryLater

    try:
        why = _ended_for_good(sync.run, queue) if queue else ""  # before the rest of its steps is read
        try:
            finished = sync.update()
        except NotBegun:
            if not why:
                raise
            finished = False
        if why and not finished:
            raise RunError(why)
    except (DataError, RunError) as error:
        message = str(error) if str(sync.run) in str(error) else f"{sync.run}: {error}"
        again = queue is not None and isinstance(error, TryLater)
        if queue and problems.get(sync.run) != message:
            console.print(
                f"{message}; {'trying again' if again else 'given up'}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        problems[sync.run] = message
        return again
    problems.pop(sync.run, None)
    return queue is not None and not finished


def _ended_for_good(run: Path, queue: Queue) -> str:
    """Why nobody will go on with a run; "" while somebody may."""
    from pipeline.cli.run_look import RunLook
    from slurm.state import job_states
    from slurm.submissions import current, jobs_of

    submissions = current(run)
    tasks = queue.ask(jobs_of(submissions))
    states = [state for submission in submissions for state in job_states(submission, tasks)]
    return RunLook.at(run, states).ended_for_good


def _text(report: dict[str, Any]) -> str:
    text = (
        f"{report['run']}: {report['sent']:,} steps sent, up to step {report['last_step']:,}: {report['url']}"
    )
    if report["evaluations"]:
        text += f"\n  evaluations sent: {report['evaluations']:,}"
    if report["undone"]:
        text += f"\n  undone after they had been sent, so their first values stay: steps {report['undone']}"
    return text
