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
from dataprep.store.os_errors import explain_os_error
from dataprep.store.requests import Pending, newest, refuse_newer
from dataprep.store.workers import HEARTBEAT_S, SILENT_S, OpenPart, Worker, forget_worker, write_worker

LEASE_S = 60.0
"""A crawler sends no request when its last heartbeat is older than this; others take over after SILENT_S."""


class Stopped(Exception):
    """The worker was asked to end, or its time is up, before all was done."""


class LeaseLapsed(Exception):
    """The worker's heartbeat could not be written for so long that others may soon hold it dead."""


@dataclass
class Presence:
    """This process as a worker of a corpus or pack.

    end: on the monotonic clock; after it nothing more is begun. grace: seconds for what is being made then.
    is_worker: else it is a command that takes part for a while: signals do what they do in any process, and
    in the end nothing of it stays listed.
    """

    root: Path
    worker: Worker
    end: float = float("inf")
    grace: float = float("inf")
    heartbeat_s: float = HEARTBEAT_S
    silent_s: float = SILENT_S
    lease_s: float = LEASE_S
    is_worker: bool = True
    _shown: float = 0.0
    _raises: bool = True
    _counted: float = field(default_factory=time.monotonic)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Be a worker: heed signals, and note at the end why it left.

        SIGUSR1: begin nothing more, and end when what is being made is made. SIGTERM: end at once.
        """
        handlers = {signal.SIGUSR1: self._finish, signal.SIGTERM: self._leave} if self.is_worker else {}
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
            explained = explain_os_error(error) if isinstance(error, OSError) else None
            ended = " ".join(f"{explained or error}".split()) or type(error).__name__
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            files.before_commit = files.go_on
            self.worker.ended = ended
            with suppress(OSError):
                if self.is_worker:
                    self.show([])
                else:
                    forget_worker(self.root, self.worker)

    @contextmanager
    def in_event_loop(self) -> Iterator[None]:
        """Let no signal raise Stopped, which an event loop may swallow: `look_around` raises it."""
        self._raises = False
        try:
            yield
        finally:
            self._raises = True

    @property
    def is_leaving(self) -> bool:
        """Whether nothing more may begin."""
        return time.monotonic() > self.end

    def look_around(self, making: list[OpenPart]) -> None:
        """Count time and show what is being made; raises Stopped, or Excluded when a command removes."""
        self.count(len(making))
        self._show_in_time(making)
        self.refuse_removals()
        if self.is_leaving and (not making or time.monotonic() > self.end + self.grace):
            raise Stopped

    def require_lease(self) -> None:
        """Raise LeaseLapsed when the last heartbeat that was written is too old."""
        if _now() - self._shown > self.lease_s:
            raise LeaseLapsed

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
            self.count(0)
            self._show_in_time([])
            if self.is_leaving:
                raise Stopped

    def wait_for_disk(self) -> None:
        """Wait until a heartbeat can be written again; raises Stopped."""
        while not self.is_leaving:
            with suppress(OSError):
                self.show([])
                return
            time.sleep(self.heartbeat_s)
        raise Stopped

    def count(self, busy: int) -> None:
        """Count the time since the last call, in which so many processes had a part."""
        now = time.monotonic()
        busy = min(busy, self.worker.processes)
        self.worker.busy_s += busy * (now - self._counted)
        self.worker.idle_s += (self.worker.processes - busy) * (now - self._counted)
        self._counted = now

    def show(self, making: list[OpenPart]) -> None:
        """Write the worker's file, which is its heartbeat."""
        self.worker.open, began = making, _now()
        write_worker(self.root, self.worker)
        self._shown = began

    def _show_in_time(self, making: list[OpenPart]) -> None:
        """The same, if that has changed, or it is time for a heartbeat."""
        if making != self.worker.open or _now() - self._shown > self.heartbeat_s:
            self.show(making)

    def _finish(self, number: int, frame: FrameType | None) -> None:
        self.end = min(self.end, time.monotonic())

    def _leave(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._finish(number, frame)
        self.grace = 0  # where Python ignores exceptions, this stays
        if self._raises:
            raise Stopped


def _now() -> float:
    """Seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
