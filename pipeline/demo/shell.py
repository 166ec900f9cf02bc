"""Print and run the demo's commands."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipeline.errors import RunError

POLL_S = 0.1


class Shell:
    """Numbers the steps; commands run as children, on this terminal, their results on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0

    def heading(self, text: str) -> None:
        """Begin the next step."""
        self._steps += 1
        self._console.print(f"\n[bold]{self._steps}. {escape(text)}[/]", highlight=False)

    def note(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, style="dim", soft_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something goes on, and how long it took."""
        started = time.monotonic()
        with self._console.status(text):
            yield
        self.note(f"{text}: {time.monotonic() - started:.1f} s")

    def run(self, *arguments: object, until: Callable[[], bool] | None = None, capture: bool = False) -> str:
        """Show and run `outbound ARGUMENTS`; with `until`, send it SIGTERM as soon as that holds.

        Returns what it printed on stdout when `capture`, else "". Raises RunError when it fails.
        """
        words = [_readable(argument) for argument in arguments]
        self._console.print(
            f"[bold cyan]$[/] outbound {escape(shlex.join(words))}", highlight=False, soft_wrap=True
        )
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.cli.main", *words],
            stdout=subprocess.PIPE if capture else sys.stderr,
            encoding="utf-8",
        )
        try:
            if until is not None:
                self._stop_when(until, child)
            printed = child.communicate()[0] or ""
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        if child.returncode:
            raise RunError(f"outbound {shlex.join(words)}: ended with code {child.returncode}; see above")
        if capture:
            self._console.print(escape(printed.rstrip("\n")), highlight=False, soft_wrap=True)
        return printed

    def _stop_when(self, condition: Callable[[], bool], child: subprocess.Popen[str]) -> None:
        while child.poll() is None:
            if condition():
                self._console.print(f"[bold cyan]$[/] kill -TERM {child.pid}", highlight=False)
                child.send_signal(signal.SIGTERM)
                return
            time.sleep(POLL_S)


def _readable(argument: object) -> str:
    """An argument as a user here would type it: paths below the working directory without it."""
    if isinstance(argument, Path) and argument.is_absolute() and argument.is_relative_to(os.getcwd()):
        return str(argument.relative_to(os.getcwd()))
    return str(argument)
