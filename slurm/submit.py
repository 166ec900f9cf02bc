"""From a cluster profile to a job: render an sbatch script that people can read, and hand it to Slurm."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from slurm.profile import ClusterProfile

RESUME_EXIT = 75
"""`outbound train` leaves with this (EX_TEMPFAIL of sysexits.h) when it was stopped early: to be continued.

The first process that does so makes srun end the others by SIGTERM: all have saved by then, since a barrier
comes before it, and none heeds that signal any more. srun itself leaves with the highest code of all.
"""


class SubmitError(RuntimeError):
    """Slurm did not take the job."""


def render_train(profile: ClusterProfile, config: str, overrides: Sequence[str] = ()) -> str:
    """Write the sbatch script that trains `config` on the profile's nodes, one process a GPU."""
    templates = Environment(
        loader=PackageLoader("slurm"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["quote"] = shlex.quote
    return templates.get_template("train.sbatch.j2").render(
        name=job_name("train", config),
        profile=profile,
        command=["outbound", "train", config, *overrides],
        resume_exit=RESUME_EXIT,
    )


def job_name(kind: str, config: str) -> str:
    """Name a job after its configuration.

    >>> job_name("train", "/data/my configs/gpt2-small.yaml")
    'outbound-train-gpt2-small'
    """
    stem = re.sub(r"\.ya?ml$", "", config.rsplit("/", 1)[-1])
    return f"outbound-{kind}-" + re.sub(r"[^\w.-]+", "-", stem)


def submit(script: str) -> str:
    """Give a script to sbatch; return the job's id. Raises SubmitError with Slurm's reason."""
    try:
        done = subprocess.run(
            ["sbatch", "--parsable"], input=script, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise SubmitError(
            "sbatch is not on this machine: submit from a login node, or print the script by --dry-run"
        ) from None
    if done.returncode:
        raise SubmitError(f"sbatch refused the job: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout.strip().partition(";")[0]  # "id" or "id;cluster"
