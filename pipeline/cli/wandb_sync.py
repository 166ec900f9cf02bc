"""`outbound wandb-sync`: runs to Weights & Biases, from wherever there is a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataprep.errors import DataError
from pipeline.cli.app import Json, app, console, emit, progress
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
    WANDB_API_KEY, WANDB_ENTITY and what `wandb login` has stored.
    """
    from pipeline.monitor.wandb_sync import WandbSync, pause_s

    problems: dict[Path, str] = {}
    with progress("sent", None, "steps") as advance:
        syncs = [WandbSync(run, advance) for run in runs]
        going = list(syncs)
        while True:
            began = time.process_time()
            going = [sync for sync in going if _update(sync, watch, problems)]
            if not going:
                break
            time.sleep(pause_s(time.process_time() - began))
    reports = [report for sync in syncs if (report := sync.report())]
    emit({"runs": reports}, json, "\n".join(map(_text, reports)))
    if problems:
        raise RunError("; ".join(problems.values()))


def _update(sync: WandbSync, watch: bool, problems: dict[Path, str]) -> bool:
    """Send what one run has, and note its problem by its directory; return whether to come back to it.

    While watching, a problem is printed when it appears: the other runs may go on for weeks.
    """
    from pipeline.monitor.wandb_server import TryLater

    try:
        finished = sync.update()
    except (DataError, RunError) as error:
        message = str(error) if str(sync.run) in str(error) else f"{sync.run}: {error}"
        again = watch and isinstance(error, TryLater)
        if watch and problems.get(sync.run) != message:
            console.print(
                f"{message}; {'trying again' if again else 'given up'}", highlight=False, markup=False
            )
        problems[sync.run] = message
        return again
    problems.pop(sync.run, None)
    return watch and not finished


def _text(report: dict[str, Any]) -> str:
    text = (
        f"{report['run']}: {report['sent']:,} steps sent, up to step {report['last_step']:,}: {report['url']}"
    )
    if report["evaluations"]:
        text += f"\n  evaluations sent: {report['evaluations']:,}"
    if report["undone"]:
        text += f"\n  undone after they had been sent, so their first values stay: steps {report['undone']}"
    return text
