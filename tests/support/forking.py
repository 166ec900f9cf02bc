"""Processes forked from one that has imported what they need: to import takes longer than to run."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest.mock import patch

LOADED = (
    "pipeline.train.loop",
    "torch._dynamo",
    "pipeline.cli.main",
    "pipeline.monitor.report",
    "dataprep.ingest",
    "dataprep.forget.run",
    "dataprep.pack.forget",
    "dataprep.pack.pack",
    "dataprep.shards.export",
    "tiktoken",
)
"""What ranks and commands import, some of it when they run."""


def forking() -> ForkServerContext:
    """A multiprocessing context whose processes have LOADED.

    They share what a start from nothing makes anew, such as the hash seed of strings: that runs agree however
    they were started, tests must show that start one of them from nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    with patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}):  # read as torch is imported
        forkserver.ensure_running()
    return context


def redirect(stream: int, path: Path) -> None:
    """Let what this process writes to standard output (1) or standard error (2) go to a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, stream)
    os.close(file)


def begin(home: Path, words: list[str], told: Path, gate: Connection) -> None:
    """Run an `outbound` command, once all is loaded and `gate` says so; `told` gets what it tells people."""
    from pipeline.cli.main import main

    os.chdir(home)
    sys.argv = ["outbound", *words]
    redirect(1, Path(os.devnull))
    redirect(2, told)
    gate.send("ready")
    gate.recv()
    main()
