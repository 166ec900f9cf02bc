"""A worker as others see it: its heartbeat, how it is asked to end, and how it makes way for removals."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from dataprep.store import files
from dataprep.store.requests import Pending, newest, refuse_newer
from dataprep.store.workers import HEARTBEAT_S, SILENT_S, OpenPart, Worker, tell


class Stopped(Exception):
    """The worker was asked to end, or its time is up, before all was done."""


@dataclass
class Presence:
    """This process as a worker of a corpus or pack.

    end: on the monotonic clock; after it nothing more is begun. grace: seconds for what is being made then.
    """

    root: Path
    worker: Worker
    end: float = float("inf")
    grace: float = float("inf")
    heartbeat_s: float = HEARTBEAT_S
    silent_s: float = SILENT_S
    _told: float = 0.0
    _counted: float = field(default_factory=time.monotonic)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Be a worker: heed signals, and note at the end why it left.

        SIGUSR1: begin nothing more, and end when what is being made is made. SIGTERM: end at once.
        """
        handlers = {signal.SIGUSR1: self._finish, signal.SIGTERM: self._leave}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        files.before_commit = self.refuse_removals
        ended = "whole"
        try:
            self.show([])
            if newest(self.root):
                self.stand_aside()
            yield
        except Stopped:
            ended = "stopped"
            raise
        except BaseException as error:
            ended = " ".join(f"{error}".split()) or type(error).__name__
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            files.before_commit = files.go_on
            self.worker.ended = ended
            with suppress(OSError):
                self.show([])

    @property
    def is_leaving(self) -> bool:
        """Whether nothing more may begin."""
        return time.monotonic() > self.end

    def look_around(self, making: list[OpenPart]) -> None:
        """Count time and show what is being made; raises Stopped, or Excluded when a command removes."""
        self._count(len(making))
        self._show_in_time(making)
        self.refuse_removals()
        if self.is_leaving and (not making or time.monotonic() > self.end + self.grace):
            raise Stopped

    def refuse_removals(self) -> None:
        """Raise Excluded when a command that removes has begun which this worker has not made way for."""
        refuse_newer(self.root, self.worker.heeds)

    def stand_aside(self, look_s: float = 1.0) -> None:
        """Wait until the command that removes is done; raises Stopped."""
        pending = Pending(self.root, self.silent_s)
        self.worker.heeds = newest(self.root)
        self.show([])
        while pending.stands(self.worker.heeds):
            time.sleep(look_s)
            self.worker.heeds = max(self.worker.heeds, newest(self.root))
            self._count(0)
            self._show_in_time([])
            if self.is_leaving:
                raise Stopped

    def show(self, making: list[OpenPart]) -> None:
        """Write the worker's file, which is its heartbeat."""
        self.worker.open, self._told = making, time.monotonic()
        tell(self.root, self.worker)

    def _show_in_time(self, making: list[OpenPart]) -> None:
        """The same, if that has changed, or it is time for a heartbeat."""
        if making != self.worker.open or time.monotonic() - self._told > self.heartbeat_s:
            self.show(making)

    def _count(self, busy: int) -> None:
        now = time.monotonic()
        self.worker.busy_s += busy * (now - self._counted)
        self.worker.idle_s += (self.worker.processes - busy) * (now - self._counted)
        self._counted = now

    def _finish(self, number: int, frame: FrameType | None) -> None:
        self.end = min(self.end, time.monotonic())

    def _leave(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._finish(number, frame)
        self.grace = 0  # where Python ignores exceptions, this stays
        raise Stopped
