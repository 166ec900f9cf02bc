"""The `outbound` command in tests: in their own process, as starting one each time would take the time."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import typer.main

from support.patience import patient

command_tree = functools.cache(typer.main.get_command)
"""The tree of commands, which takes 0.1 s to build and is the same each time."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: object) -> Ended:
    """Run a command as the installed script does."""
    from pipeline.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    argv = patch.object(sys, "argv", ["outbound", *map(str, words)])
    tree = patch.object(typer.main, "get_command", command_tree)
    with argv, tree, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())


def result(*words: object) -> Any:
    """What a command prints with --json; it must end well."""
    ended = run(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def start(*words: object, python: Sequence[str] = ("-m", "pipeline.cli.main")) -> subprocess.Popen[str]:
    """Start a command in a process of its own; python: how that runs it."""
    return subprocess.Popen(
        [sys.executable, *python, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait until a process has ended, with this code; gives what it printed."""
    out, err = process.communicate(timeout=patient())
    assert process.returncode == code, out + err
    return out + err


def heed_ctrl_c() -> None:
    """Undo, in a child before it begins (`preexec_fn`), that a suite in the background ignores SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
