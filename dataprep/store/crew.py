"""The processes of a worker: each makes one part at a time, and may be killed by what it reads."""

from __future__ import annotations

import errno
import glob
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Literal

import pyarrow as pa

from dataprep.errors import DataError
from dataprep.store import files
from dataprep.store.os_errors import explain_os_error
from dataprep.store.pool import Tick, leave_with_parent
from dataprep.store.requests import Excluded, refuse_newer
from dataprep.store.step import Step, make_part

HUNG_S = 30 * 60.0
"""A part without progress for so long is ended."""
STARTING_S = 300.0
"""How much longer a process may take for its first part: it imports much, perhaps over a busy network."""
TICK_S = 0.2
"""How often a process reports its progress."""
KILL_S = 10.0
"""How long to wait for a process that was killed: one that waits for a hung disk does not end."""
FAULTS_OF_MACHINE = frozenset(
    [
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.ESTALE,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
    ]
)
"""What says nothing about the part: another machine may well make it."""

Kind = Literal["made", "error", "machine", "killed", "hung", "excluded"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One try of a part. heeded: the newest request of a command that removes when it began."""

    step: Step[Any]
    scope: Any
    part: str
    number: int
    heeded: int
    since: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a try ended."""

    job: Job
    kind: Kind
    reason: str = ""


class Crew:
    """Up to so many processes, started when they are first needed."""

    def __init__(self, processes: int, hung_s: float = HUNG_S) -> None:
        self._idle: list[_Member] = []
        self._busy: list[_Member] = []
        self._processes, self._hung_s = processes, hung_s

    @property
    def jobs(self) -> list[Job]:
        """What is being made."""
        return [member.job for member in self._busy if member.job]

    @property
    def free(self) -> int:
        """How many more jobs can be given."""
        return self._processes - len(self._busy)

    def give(self, job: Job) -> None:
        """Let a process make a part."""
        idle = [member for member in self._idle if member.process.is_alive()]
        member = idle.pop() if idle else _Member()
        self._idle = idle
        self._busy.append(member)
        member.begin(job)

    def wait(self, timeout_s: float) -> Iterator[Outcome | int]:
        """What has happened, after at most so long: tries that ended, and units that were done."""
        ready = wait([each for member in self._busy for each in member.handles], timeout_s)
        for member in [*self._busy]:
            if not {*member.handles}.isdisjoint(ready):
                yield from self._hear(member)
            elif time.monotonic() - member.heard > self._hung_s + member.starting_s:
                yield self._dismiss(member, "hung", f"no progress for {self._hung_s / 60:.0f} minutes")

    def drop(self) -> list[Job]:
        """Stop all that is being made; returns it."""
        jobs = self.jobs
        for member in self._busy:
            member.kill()
        self._busy = []
        return jobs

    def close(self) -> None:
        """End all processes."""
        self.drop()
        for member in self._idle:
            member.kill()
        self._idle = []

    def _hear(self, member: _Member) -> Iterator[Outcome | int]:
        job = member.job
        assert job
        try:
            while member.pipe.poll():
                heard = member.pipe.recv()
                member.heard, member.starting_s = time.monotonic(), 0
                if isinstance(heard, int):
                    yield heard
                    continue
                kind, reason = heard
                member.job = None
                self._busy.remove(member)
                self._idle.append(member)
                yield Outcome(job=job, kind=kind, reason=reason)
                return
        except (EOFError, OSError):  # it has died
            pass
        if not member.process.is_alive():
            code = member.process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
            if member.starting_s:  # it never came to the part
                yield self._dismiss(member, "machine", f"a process {how} while it started")
            else:
                yield self._dismiss(member, "killed", f"its process {how}")

    def _dismiss(self, member: _Member, kind: Kind, reason: str) -> Outcome:
        job = member.job
        assert job
        member.kill()
        self._busy.remove(member)
        return Outcome(job=job, kind=kind, reason=reason)


class _Member:
    """One process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.heard = 0.0
        self.starting_s = STARTING_S

    @property
    def handles(self) -> tuple[Connection, int]:
        return self.pipe, self.process.sentinel

    def begin(self, job: Job) -> None:
        self.job, self.heard = job, time.monotonic()
        with suppress(OSError):  # it has just died, and will be heard of
            self.pipe.send(job)

    def kill(self) -> None:
        """End it at once, and remove the files that it was writing."""
        self.process.kill()
        self.process.join(KILL_S)
        self.pipe.close()
        if self.job and self.process.pid:
            _remove_attempts(self.job, self.process.pid)


def _serve(pipe: Connection) -> None:
    """Make parts until the worker ends, which alone heeds signals."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    Thread(target=leave_with_parent, daemon=True).start()
    pa.set_cpu_count(1)  # each core has its process
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        pipe.send(0)  # it has begun
        ticks = _Ticks(pipe.send)
        kind, reason = _make(job, ticks)
        if kind != "made":
            _remove_attempts(job, os.getpid())
        ticks.send_rest()
        pipe.send((kind, reason))


class _Ticks:
    """Reports progress every TICK_S at most: a step may tick for every document, and a message costs time."""

    def __init__(self, send: Callable[[int], None]) -> None:
        self._send, self._units, self._sent = send, 0, time.monotonic()

    def __call__(self, units: int) -> None:
        self._units += units
        if time.monotonic() - self._sent >= TICK_S:
            self._send(self._units)
            self._units, self._sent = 0, time.monotonic()

    def send_rest(self) -> None:
        """Report what was not reported yet."""
        if self._units:
            self._send(self._units)


def _make(job: Job, tick: Tick) -> tuple[Kind, str]:
    files.before_commit = partial(refuse_newer, job.scope.root, job.heeded)
    try:
        make_part(job.step, job.scope, job.part, 1, tick)
    except Excluded:
        return "excluded", ""
    except OSError as error:
        kind: Kind = "machine" if error.errno in FAULTS_OF_MACHINE else "error"
        return kind, str(explain_os_error(error) or _in_one_line(error))
    except DataError as error:
        return "error", str(error)
    except Exception as error:
        return "error", _in_one_line(error)
    return "made", ""


def _remove_attempts(job: Job, pid: int) -> None:
    """Remove the files that a process of this machine was writing for a part."""
    pattern = f".*.{glob.escape(socket.gethostname())}.{pid}.part"
    for directory in (job.step.directory(job.scope), job.scope.root):
        for attempt in directory.glob(pattern):
            attempt.unlink(missing_ok=True)


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
