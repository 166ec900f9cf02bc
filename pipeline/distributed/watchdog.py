"""Detect a stalled rank: dump the stacks of all threads, then exit.

A signal handler would wait for the main thread, which waits in a collective; a thread of its own does not.
When a rank hangs the others wait for it, so every rank that still runs writes where it waits.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

STALLED = 1
"""The exit code, as of any failure: the launcher ends the others, and the job can be requeued."""
DUMP_TIMEOUT_S = 10.0
"""How long writing the stacks may take; the filesystem itself may hang, and then the process exits."""

log = logging.getLogger("outbound")


class Watchdog:
    """Use as `with Watchdog(...) as dog`, and call `dog.beat()` at least every `limit_s` seconds."""

    def __init__(
        self,
        limit_s: float,
        stacks: Path,
        leave: Callable[[int], object] = os._exit,
        dump_timeout_s: float = DUMP_TIMEOUT_S,
    ) -> None:
        """limit_s: 0 watches nothing. stacks: the file that the stacks of all threads go to."""
        self._limit_s = limit_s
        self.stacks = stacks
        self._leave = leave
        self._tell_s = dump_timeout_s
        self._last = time.monotonic()
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True, name="watchdog")

    def __enter__(self) -> Watchdog:
        if self._limit_s:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def beat(self) -> None:
        """Note that there is progress."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(self._limit_s / 10):
            if time.monotonic() - self._last > self._limit_s:
                dumping = Thread(target=self._dump_stacks, daemon=True)
                dumping.start()
                dumping.join(self._tell_s)
                self._leave(STALLED)
                return

    def _dump_stacks(self) -> None:
        try:
            with self.stacks.open("w") as file:
                faulthandler.dump_traceback(file)
        except OSError as error:
            log.error("%s: %s", self.stacks, error)
            faulthandler.dump_traceback()
        log.error("no step in %g s (guards.stall_timeout_s): see %s", self._limit_s, self.stacks)
