"""A program at a terminal: a pseudo-terminal is its standard input and output, and its Ctrl-C works."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from support.patience import patient

CTRL_C, CTRL_D = b"\x03", b"\x04"
PRESSES = 10
"""A key is pressed so often before it counts as not heeded."""


class Terminal:
    """What a person sees and types. seen: all output that no `read_until` has returned yet."""

    def __init__(self, program: subprocess.Popen[bytes], screen: int) -> None:
        self.program, self._screen, self._seen = program, screen, b""

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def read_until(self, wanted: str, seconds: float | None = None) -> str:
        """What is shown up to and with a string, from where the last call ended."""
        self._wait(lambda: wanted.encode() in self._seen, f"{wanted!r} is not shown", seconds)
        shown, found, self._seen = self._seen.partition(wanted.encode())
        return (shown + found).decode(errors="replace")

    def wait_for_more(self, size: int) -> None:
        """Returns when so many bytes more are shown."""
        enough = len(self._seen) + size
        self._wait(lambda: len(self._seen) >= enough, f"no {size} bytes more are shown")

    def interrupt(self) -> None:
        """Press Ctrl-C until the next question, as a person does.

        Python's readline heeds one that comes just before it waits for keys only at the next key.
        """
        for _ in range(PRESSES):
            self.type(CTRL_C)
            with suppress(AssertionError):
                self.read_until("\n> ", patient(2))
                return
        raise AssertionError(f"Ctrl-C is not heeded: {self._seen.decode(errors='replace')}")

    def leave(self) -> int:
        """Press Ctrl-D until the program ends: one is lost that comes while the terminal changes its mode."""
        for _ in range(PRESSES):
            self.type(CTRL_D)
            with suppress(subprocess.TimeoutExpired):
                return self.program.wait(patient(2))
        raise AssertionError("Ctrl-D is not heeded")

    def _wait(self, is_shown: Callable[[], bool], otherwise: str, seconds: float | None = None) -> None:
        deadline = time.monotonic() + (patient() if seconds is None else seconds)
        while not is_shown():
            left = deadline - time.monotonic()
            assert left > 0, f"{otherwise}: {self._seen.decode(errors='replace')}"
            if select.select([self._screen], [], [], left)[0]:
                try:
                    self._seen = (self._seen + os.read(self._screen, 1 << 16)).replace(b"\r\n", b"\n")
                except OSError:  # the program has left
                    raise AssertionError(self._seen.decode(errors="replace")) from None


@contextmanager
def outbound(*words: object) -> Iterator[Terminal]:
    """An `outbound` command at a terminal that knows no escape codes."""
    screen, program_side = os.openpty()

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a suite in the background ignores it
        os.login_tty(program_side)

    program = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli.main", *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"},
        preexec_fn=begin,
        pass_fds=[program_side],
    )
    os.close(program_side)
    try:
        yield Terminal(program, screen)
    finally:
        program.kill()
        program.wait()
        os.close(screen)
