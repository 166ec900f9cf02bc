"""`outbound submit`: the same commands, as jobs of a Slurm cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import Json, app, emit

submit_app = typer.Typer(help="Run a command as a job of a Slurm cluster.", no_args_is_help=True)
app.add_typer(submit_app, name="submit")

Existing = typer.Argument(exists=True, dir_okay=False, help="Training configuration (YAML).")


@submit_app.callback()
def submit() -> None:
    """Keep `train` a subcommand: typer would fold a group of one into its parent."""


@submit_app.command("train")
def submit_train(
    config: Annotated[Path, Existing],
    cluster: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Cluster profile (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings over the file's.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script; submit nothing.")] = False,
    json: Json = False,
) -> None:
    """Train CONFIG on a cluster: one process a GPU, requeued and resumed at the time limit."""
    from pipeline.errors import RunError, UsageError
    from slurm import profile
    from slurm import submit as slurm

    try:
        script = slurm.render_train(profile.load(cluster), str(config.resolve()), overrides or [])
    except ValueError as error:
        raise UsageError(str(error)) from None
    if dry_run:
        emit({"script": script}, json, text=script)
        return
    try:
        job = slurm.submit(script)
    except slurm.SubmitError as error:
        raise RunError(str(error)) from None
    name = slurm.job_name("train", str(config))
    emit({"job": job, "name": name, "script": script}, json, text=f"job {job}; its log: {name}-{job}.log")
