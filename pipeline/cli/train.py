"""`outbound train`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.app import Json, app, emit
from pipeline.cli.configs import RunFile
from pipeline.cli.places import refuse_mixing


@app.command()
def train(
    config: RunFile,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Values that replace the file's.")
    ] = None,
    nproc: Annotated[
        int | None,
        typer.Option(min=1, help="Local processes; one a pipeline stage when absent."),
    ] = None,
    json: Json = False,
) -> None:
    """Train a GPT, or go on where the run stopped.

    SIGTERM, SIGUSR1 and Ctrl-C save a checkpoint and end with code 0 and "stopped" in the result; the same
    command continues. Started by srun or torchrun, each process is one rank; under srun a stop ends with
    code 75, on which the job's script queues it again. Code 76: a start on another machine has taken over.
    Code 77: nodes of the job cannot train, and the message names them.
    """
    from pipeline.cli.run_checks import checked_run
    from pipeline.config import load_config
    from pipeline.distributed.ranks import rank_from_environment
    from pipeline.train.start import train_as_rank, train_in_processes

    rank = None if nproc else rank_from_environment()
    if rank is None:
        settings, found = checked_run(config, overrides or [], nproc)
        assert found is not None  # else their absence was refused
        sources = found
    else:  # the ranks check together what is left, instead of all of them the same files
        settings, sources = load_config(config, overrides or [])
        refuse_mixing(settings.run.dir, "a run")
    if rank is None:
        summary = train_in_processes(config, overrides or [], settings, sources, nproc)
    else:
        summary = train_as_rank(settings, sources, rank)
    if rank is None or rank.is_first:
        emit({"run": str(settings.run.dir), **summary}, json, _text(settings.run.dir, summary))
    if rank is not None and rank.srun and summary["stopped"]:
        from slurm.codes import RESUME_EXIT

        # The first task that leaves makes srun end the others, and srun's code is the highest of theirs: one
        # that died of SIGTERM on its way out would hide the code on which the script queues the job again.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise typer.Exit(RESUME_EXIT)


def _text(run: Path, summary: dict[str, Any]) -> str:
    held_out = "" if summary["val_loss"] is None else f", held-out loss {summary['val_loss']:.4f}"
    verb = "stopped after" if summary["stopped"] else "trained"
    return (
        f"{run}: {verb} {summary['steps']} steps, {summary['tokens']:,} tokens "
        f"in {summary['seconds']:.0f} s{held_out}"
    )
