"""The executor of a worker: it shares the parts of a step with workers of this and other machines.

It takes parts that nobody holds (never claimed, or their worker is gone), then those that failed on this
machine. When none is left, it makes again what another has held for long: the first record counts. It ends
when all parts are made, whoever made them.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import xxhash

from dataprep.errors import DataError
from dataprep.store import files
from dataprep.store.checksummed_json import load
from dataprep.store.crew import HUNG_S, Crew, Job, Outcome
from dataprep.store.pool import Tick
from dataprep.store.requests import Pending, newest, refuse_newer
from dataprep.store.step import Part, Plan, Step, plan_path, standing
from dataprep.store.workers import (
    HEARTBEAT_S,
    SILENT_S,
    Claims,
    OpenPart,
    Pulses,
    Tries,
    Worker,
    read_or_none,
    tell,
)


class Stopped(Exception):
    """The worker was asked to end, or its time is up, before all was done."""


class GivenUp(DataError):
    """Parts of a step failed too often."""


class BadMachine(DataError):
    """This machine cannot work on: its disk is full, say, or too many parts failed here in turn."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When a worker does what, in seconds.

    look: how long it waits for news before it looks at the claims again. repeat: how long another must have
    held a part before it is made here, too. silent: see `workers.SILENT_S`. hung: see `crew.HUNG_S`.
    """

    look: float = 1.0
    repeat: float = 120.0
    silent: float = SILENT_S
    hung: float = HUNG_S
    heartbeat: float = HEARTBEAT_S


BAD_PARTS = 3
"""A worker leaves when so many parts failed on its machine and were made by others."""


@dataclass
class Claiming:
    """An executor, and the worker that it is.

    end: on the monotonic clock; after it nothing is claimed. grace: seconds for what is being made then.
    """

    root: Path
    worker: Worker
    timing: Timing = Timing()
    end: float = float("inf")
    grace: float = float("inf")
    joins: bool = True
    _crew: Crew = field(init=False)
    _pulses: Pulses = field(init=False)
    _since: dict[tuple[str, int], float] = field(default_factory=dict)
    _failed_here: set[tuple[str, str]] = field(default_factory=set)
    _told: float = 0.0
    _counted: float = field(default_factory=time.monotonic)
    _bad: int = 0

    def __post_init__(self) -> None:
        self._crew = Crew(self.worker.processes, self.timing.hung)
        self._pulses = Pulses(self.root, self.timing.silent)

    def __call__(self, step: Step[Any], scope: Any, parts: Sequence[str], tick: Tick) -> None:
        """Make these parts, with others; raises GivenUp, BadMachine, Stopped or Excluded."""
        path = plan_path(step, scope)
        if not parts or not path.exists():  # another worker has finished the step
            return
        try:
            plan, planned = load(path, Plan), _identity(path)
        except (DataError, OSError):
            if path.exists():
                raise
            return
        claims = Claims(path.parent, step.name, self.worker)
        (path.parent / f"{step.name}.claims").mkdir(exist_ok=True)
        wanted = {*parts}
        left = _from_own_place([part for part in plan.parts if part.name in wanted], self.worker)
        made_here, looked = set[str](), 0.0
        try:
            while left and path.exists():
                self._look_around()
                if time.monotonic() - looked > self.timing.look:
                    for name in self._made(step, scope, plan, left):
                        part = left.pop(name)
                        if name not in made_here:
                            tick(part.size)
                            self._judge_machine(step.name, name)
                    if (now := _identity(path)) not in (planned, None):
                        if (again := read_or_none(path, Plan)) and again != plan:
                            raise DataError(f"{path}: was replaced by another command; run this one again")
                        planned = now  # by a worker that came as the step was being finished
                        (path.parent / f"{step.name}.claims").mkdir(exist_ok=True)
                    if left and not self._claim(step, scope, claims, left):
                        raise _given_up(path.parent / f"{step.name}.failed", claims, left)
                    looked = time.monotonic()
                for happened in self._crew.wait(self.timing.look):
                    if isinstance(happened, int):
                        tick(happened)
                        continue
                    looked = 0.0  # a process is free
                    if happened.kind == "made":
                        made_here.add(happened.job.part)
                        self.worker.made += 1
                    elif path.exists():  # else the step is finished, and what the part was made of is gone
                        self._settle(happened, claims)
            for happened in (
                self._crew.wait(self.timing.look) if self._crew.jobs else ()
            ):  # it may be about to say
                self.worker.made += isinstance(happened, Outcome) and happened.kind == "made"
        finally:
            for job in self._crew.drop():
                claims.release(job.part, job.number)
            self._since.clear()
            self._tell()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Be a worker: heed signals, and tell at the end why it left.

        SIGUSR1: claim nothing more, and end when what is being made is made. SIGTERM: end at once.
        """
        handlers = {signal.SIGUSR1: self._finish, signal.SIGTERM: self._leave}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        files.before_commit = lambda: refuse_newer(self.root, self.worker.heeds)
        ended = "whole"
        try:
            self._tell()
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
            self._crew.close()
            self.worker.ended = ended
            with suppress(OSError):
                self._tell()

    def stand_aside(self) -> None:
        """Wait until the command that removes is done."""
        pending = Pending(self.root, self.timing.silent)
        self.worker.heeds = newest(self.root)
        self._tell()
        while pending.stands(self.worker.heeds):
            if self._is_leaving:
                raise Stopped
            time.sleep(self.timing.look)
            self._count()
            self.worker.heeds = newest(self.root)
            self._tell_in_time()

    def _made(self, step: Step[Any], scope: Any, plan: Plan, left: dict[str, Part]) -> list[str]:
        """The parts that stand meanwhile."""
        names = {path.stem for path in step.directory(scope).glob("*.json")}
        return [name for name in left.keys() & names if standing(step, scope, plan, left[name])]

    def _claim(self, step: Step[Any], scope: Any, claims: Claims, left: dict[str, Part]) -> bool:
        """Give work to the processes that are free; whether any part may still be made, here or elsewhere."""
        if not self._crew.free or self._is_leaving:
            return True
        tries = claims.tries()
        own = {job.part for job in self._crew.jobs}
        fresh, failed_here, held = list[str](), list[str](), dict[str, int]()
        for name in (name for name in left if name not in own):
            of_part = tries.get(name, Tries())
            for number in of_part.open:
                holder = claims.holder(name, number)
                if holder and self._pulses.is_dead(holder):
                    claims.lose(name, number, holder)
                else:
                    held[name] = number
            if name in held or of_part.is_given_up:
                continue
            here = any(failure.host == self.worker.host for failure in of_part.failures.values())
            (failed_here if here else fresh).append(name)
        old = [
            name
            for name, number in held.items()
            if len(tries[name].open) == 1
            and not tries[name].is_given_up
            and self._age(name, number) > self.timing.repeat
        ]
        for name in fresh + failed_here + old:
            if not self._crew.free:
                break
            number = tries[name].next if name in tries else 1
            if claims.take(name, number):
                self._crew.give(
                    Job(step=step, scope=scope, part=name, number=number, heeded=self.worker.heeds)
                )
        return bool(fresh or failed_here or held or self._crew.jobs)

    def _age(self, part: str, number: int) -> float:
        """How long this worker has seen a try of another."""
        now = time.monotonic()
        return now - self._since.setdefault((part, number), now)

    def _settle(self, ended: Outcome, claims: Claims) -> None:
        """Note how a try failed; raises BadMachine when that was not the part's fault."""
        job = ended.job
        if ended.kind == "excluded":
            claims.release(job.part, job.number)
        elif ended.kind == "machine":
            claims.release(job.part, job.number)
            raise BadMachine(f"{self.worker.host}: {ended.reason}")
        else:
            claims.fail(job.part, job.number, ended.kind, ended.reason)
            self.worker.failed += 1
            self._failed_here.add((job.step.name, job.part))

    def _judge_machine(self, step: str, part: str) -> None:
        """Another has made a part; raises BadMachine when this was one of several that failed here."""
        if (step, part) in self._failed_here:
            self._bad += 1
            if self._bad >= BAD_PARTS:
                raise BadMachine(
                    f"{self.worker.host}: {self._bad} parts failed here that others have made, the last one "
                    f"{step} {part}; look at this machine"
                )

    @property
    def _is_leaving(self) -> bool:
        return time.monotonic() > self.end

    def _look_around(self) -> None:
        """Count time, and heed what others want; raises Stopped or Excluded."""
        self._count()
        self._tell_in_time()
        refuse_newer(self.root, self.worker.heeds)
        if self._is_leaving and (not self._crew.jobs or time.monotonic() > self.end + self.grace):
            raise Stopped

    def _count(self) -> None:
        now, busy = time.monotonic(), len(self._crew.jobs)
        self.worker.busy_s += busy * (now - self._counted)
        self.worker.idle_s += (self.worker.processes - busy) * (now - self._counted)
        self._counted = now

    def _tell_in_time(self) -> None:
        """Tell what this worker does when that has changed, or when it is time for a heartbeat."""
        if time.monotonic() - self._told > self.timing.heartbeat or self.worker.open != self._open():
            self._tell()

    def _tell(self) -> None:
        self.worker.open, self._told = self._open(), time.monotonic()
        tell(self.root, self.worker)

    def _open(self) -> list[OpenPart]:
        return [
            OpenPart(
                step=job.step.name,
                place=str(plan_path(job.step, job.scope).parent.relative_to(self.root)),
                part=job.part,
                number=job.number,
                since=job.since,
            )
            for job in self._crew.jobs
        ]

    def _finish(self, number: int, frame: FrameType | None) -> None:
        self.end = min(self.end, time.monotonic())

    def _leave(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there; None if there is none."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _from_own_place(parts: list[Part], worker: Worker) -> dict[str, Part]:
    """The parts by name, from a place that differs from worker to worker, so that few claim the same."""
    begin = xxhash.xxh3_64_intdigest(worker.name.encode()) % len(parts)
    return {part.name: part for part in parts[begin:] + parts[:begin]}


def _given_up(folder: Path, claims: Claims, left: dict[str, Part]) -> GivenUp:
    first = next(iter(left))
    failures = claims.tries()[first].failures
    if not failures:  # they were removed just now
        return GivenUp(f"{folder}: is gone; parts of {claims.step} may be tried again: run the command again")
    number, failure = max(failures.items())
    return GivenUp(
        f"{folder}: {len(left)} of the parts of {claims.step} failed too often, the first one {first} after "
        f"{number} tries on {failure.host}: {failure.reason}; mend that, and work with --again"
    )
