"""Processes that a training run starts beside itself: at low priority, and not ended by the job's signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def start(
    module: str,
    *arguments: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE ARGUMENT...`, which prints to the end of a log file.

    It ignores SIGUSR1. Slurm sends that to every process of a job, but only the ranks must save and stop.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],  # -P: the user's folder is not searched
            env=environment,
            stdin=stdin,
            stdout=output,
            stderr=output,
            preexec_fn=_in_background,
        )


def _in_background() -> None:
    os.nice(10)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
