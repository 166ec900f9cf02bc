"""A program at a terminal: a pseudo-terminal is its standard input and output, and its Ctrl-C works."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.patience import patient

CTRL_C, CTRL_D = b"\x03", b"\x04"


class Terminal:
    """What a person sees and types. seen: all output that no `read_until` has returned yet."""

    def __init__(self, program: subprocess.Popen[bytes], screen: int) -> None:
        self.program, self._screen, self._seen = program, screen, b""

    def type(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def read_until(self, wanted: str) -> str:
        """What is shown up to and with a string, from where the last call ended."""
        deadline = time.monotonic() + patient()
        while wanted.encode() not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} is not shown: {self._seen.decode(errors='replace')}"
            if select.select([self._screen], [], [], left)[0]:
                try:
                    self._seen = (self._seen + os.read(self._screen, 1 << 16)).replace(b"\r\n", b"\n")
                except OSError:  # the program has left
                    raise AssertionError(self._seen.decode(errors="replace")) from None
        shown, found, self._seen = self._seen.partition(wanted.encode())
        return (shown + found).decode(errors="replace")


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
