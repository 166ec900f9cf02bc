"""One `outbound` command in a process of its own that waits for another before it begins."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from forking import redirect

from pipeline.cli.main import main


def begin(home: Path, words: list[str], told: Path, gate: Connection) -> None:
    """Say that all is loaded, and run the command when it is told to; `told` gets what it tells people."""
    os.chdir(home)
    sys.argv = ["outbound", *words]
    redirect(1, Path(os.devnull))
    redirect(2, told)
    gate.send("ready")
    gate.recv()
    main()
