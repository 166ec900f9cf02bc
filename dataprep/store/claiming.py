"""The executor of a worker: it shares the parts of a step with workers of this and other machines.

It takes parts that nobody holds (never claimed, or their worker is gone), then those that failed on this
machine. When none is left, it makes again what another has held for long: the first record counts. It ends
when all parts are made, whoever made them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from dataprep.errors import DataError
from dataprep.store.checksummed_json import load, load_or_none
from dataprep.store.claims import BadMachine, Claims
from dataprep.store.crew import HUNG_S, Crew, Job, Outcome
from dataprep.store.pool import Tick
from dataprep.store.presence import Presence
from dataprep.store.step import Part, Plan, Step, plan_path, standing
from dataprep.store.workers import OpenPart, Pulses, Worker

BAD_PARTS = 3
"""A worker leaves when so many parts failed on its machine and were made by others."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10
"""Pauses between two looks at all claims, in units of `look_s`. A look lists every part of the step. So each
pause is twice as long as the one before, from when a process is idle that finds no part. A worker whose
processes are all busy makes the longest; meanwhile it claims what nobody had claimed at its last look. It
still sees within `look_s` that the step is finished, or that a command removes.
"""


@dataclass
class Claiming:
    """An executor; `presence` is the worker that it is.

    look_s: how long it waits before it looks whether the step is finished (see LONGEST_PAUSE). repeat_s: how
    long another must have held a part before it is made here, too. hung_s: see `crew.HUNG_S`.
    """

    presence: Presence
    look_s: float = 1.0
    repeat_s: float = 120.0
    hung_s: float = HUNG_S
    joins: bool = True
    _crew: Crew = field(init=False)
    _pulses: Pulses = field(init=False)
    _failed_here: set[tuple[str, str]] = field(default_factory=set)
    _unclaimed: list[tuple[str, int]] = field(default_factory=list)
    _bad: int = 0

    def __post_init__(self) -> None:
        self._crew = Crew(self._worker.processes, self.hung_s)
        self._pulses = Pulses(self.presence.root, self.presence.silent_s)

    def __call__(self, step: Step[Any], scope: Any, parts: Sequence[str], tick: Tick) -> None:
        """Make these parts, with others; raises GivenUp, BadMachine, Stopped or Excluded."""
        opened = _OpenStep.read(step, scope, self._worker)
        if not parts or not opened:
            return
        left = opened.from_own_place({*parts})
        made_here, look_at, pause_s = set[str](), 0.0, 0.0
        self._unclaimed = []
        try:
            while left:
                self.presence.look_around(self._making())
                if not opened.path.exists():
                    break
                if time.monotonic() >= look_at:
                    self._strike_out(opened, left, made_here, tick)
                    opened.follow()
                    if left and not self._claim(opened, left):
                        raise opened.claims.given_up(left)
                    pause_s = self._pause(pause_s)
                    look_at = time.monotonic() + pause_s
                if left and self._hear(opened, made_here, tick, min(pause_s, self.look_s)):
                    self._give(opened, self._unclaimed)
                    if self._crew.free:
                        pause_s = look_at = 0.0
            # What has just been made, in the moment before it is heard of, counts.
            for happened in self._crew.wait(self.look_s) if self._crew.jobs else ():
                if isinstance(happened, Outcome) and happened.kind == "made":
                    self._settle(happened, opened, made_here)
        finally:
            for job in self._crew.drop():
                opened.claims.release(job.part, job.number)
            self.presence.show([])

    def close(self) -> None:
        """End the processes."""
        self._crew.close()

    def _hear(self, opened: _OpenStep, made_here: set[str], tick: Tick, wait_s: float) -> bool:
        """Heed what the processes report within `wait_s`; whether one of them has become idle."""
        until, ended = time.monotonic() + wait_s, False
        while not ended and (left_s := until - time.monotonic()) > 0:
            busy = len(self._crew.jobs)
            for happened in self._crew.wait(left_s):
                self.presence.count(busy)
                if isinstance(happened, int):
                    tick(happened)
                else:
                    self._settle(happened, opened, made_here)
                    ended = True
        return ended

    def _pause(self, before_s: float) -> float:
        """How long to wait after a look at all claims until the next."""
        first_s, longest_s = FIRST_PAUSE * self.look_s, LONGEST_PAUSE * self.look_s
        return min(max(2 * before_s, first_s), longest_s) if self._crew.free else longest_s

    @property
    def _worker(self) -> Worker:
        return self.presence.worker

    def _making(self) -> list[OpenPart]:
        return [
            OpenPart(
                step=job.step.name,
                place=str(plan_path(job.step, job.scope).parent.relative_to(self.presence.root)),
                part=job.part,
                number=job.number,
                since=job.since,
            )
            for job in self._crew.jobs
        ]

    def _strike_out(self, opened: _OpenStep, left: dict[str, Part], made_here: set[str], tick: Tick) -> None:
        """Take the parts that stand meanwhile off the list; raises BadMachine."""
        for name in opened.made(left):
            part = left.pop(name)
            if name in made_here:
                continue
            tick(part.size)
            if (opened.step.name, name) in self._failed_here:
                self._bad += 1
            if self._bad >= BAD_PARTS:
                raise BadMachine(
                    f"{self._worker.host}: {self._bad} parts failed here that others have made, the last one "
                    f"{opened.step.name} {name}; look at this machine"
                )

    def _claim(self, opened: _OpenStep, left: dict[str, Part]) -> bool:
        """Give work to the processes that are free; whether any part may still be made, here or elsewhere."""
        if not self._crew.free or self.presence.is_leaving:
            return True
        tries = opened.claims.tries()
        own = {job.part for job in self._crew.jobs}
        fresh, failed_here, old, held = list[str](), list[str](), list[str](), False
        for name in (name for name in left if name not in own):
            elsewhere = opened.claims.held(name, tries[name].open, self._pulses, opened.record(name))
            held |= bool(elsewhere)
            if tries[name].is_given_up:
                continue
            if elsewhere:
                if len(elsewhere) == 1 and opened.age(name, elsewhere[0]) > self.repeat_s:
                    old.append(name)
            elif tries[name].have_failed_on(self._worker.host):
                failed_here.append(name)
            else:
                fresh.append(name)
        self._unclaimed = [(name, tries[name].next) for name in fresh]
        self._give(opened, self._unclaimed)
        self._give(opened, [(name, tries[name].next) for name in failed_here + old])
        return bool(fresh or failed_here or held or self._crew.jobs)

    def _give(self, opened: _OpenStep, parts: list[tuple[str, int]]) -> None:
        """Claim the first of these tries for the processes that are free, and strike them off the list."""
        while parts and self._crew.free and not self.presence.is_leaving:
            name, number = parts.pop(0)
            if opened.claims.take(name, number):
                self._crew.give(
                    Job(
                        step=opened.step,
                        scope=opened.scope,
                        part=name,
                        number=number,
                        heeded=self._worker.heeds,
                    )
                )

    def _settle(self, ended: Outcome, opened: _OpenStep, made_here: set[str]) -> None:
        """Note how a try ended; raises BadMachine when it failed, and that was not the part's fault."""
        job, claims = ended.job, opened.claims
        if ended.kind == "made":
            made_here.add(job.part)
            self._worker.made += 1
        elif not opened.path.exists():  # the step is finished, and what the part was made of is gone
            return
        elif ended.kind == "excluded":
            claims.release(job.part, job.number)
        elif ended.kind == "machine":
            claims.release(job.part, job.number)
            raise BadMachine(f"{self._worker.host}: {ended.reason}")
        else:
            claims.fail(job.part, job.number, ended.kind, ended.reason)
            self._worker.failed += 1
            self._failed_here.add((job.step.name, job.part))


@dataclass
class _OpenStep:
    """A step that is being made, as one worker sees it."""

    step: Step[Any]
    scope: Any
    plan: Plan
    claims: Claims
    file: tuple[int, int] | None
    first_seen: dict[tuple[str, int], float] = field(default_factory=dict)

    @staticmethod
    def read(step: Step[Any], scope: Any, worker: Worker) -> _OpenStep | None:
        """A planned step; None when another worker has finished it."""
        path = plan_path(step, scope)
        try:
            file, plan = _identity(path), load(path, Plan)
        except DataError:
            if path.exists():
                raise
            return None
        opened = _OpenStep(step, scope, plan, Claims(path.parent, step.name, worker), file)
        opened.claims.begin()
        return opened

    @property
    def path(self) -> Path:
        """Its plan, which goes when it is finished."""
        return plan_path(self.step, self.scope)

    def from_own_place(self, names: set[str]) -> dict[str, Part]:
        """Some parts by name, from a place that differs from worker to worker, so that few claim the same."""
        parts = [part for part in self.plan.parts if part.name in names]
        begin = xxhash.xxh3_64_intdigest(self.claims.worker.name.encode()) % max(len(parts), 1)
        return {part.name: part for part in parts[begin:] + parts[:begin]}

    def record(self, part: str) -> Path:
        """Where the record of a part stands when it is made."""
        return self.step.directory(self.scope) / f"{part}.json"

    def made(self, left: dict[str, Part]) -> list[str]:
        """Those of some parts that stand."""
        step, scope = self.step, self.scope
        names = left.keys() & {path.stem for path in step.directory(scope).glob("*.json")}
        return [name for name in names if standing(step, scope, self.plan, left[name])]

    def follow(self) -> None:
        """Go on with a plan that was written again, as a worker does that comes while the step is finished.

        Raises DataError when it is another plan.
        """
        if (now := _identity(self.path)) in (self.file, None):
            return
        if (again := load_or_none(self.path, Plan)) and again != self.plan:
            raise DataError(f"{self.path}: was replaced by another command; run this one again")
        self.file = now
        self.claims.begin()

    def age(self, part: str, number: int) -> float:
        """How long this worker has seen a try of another."""
        now = time.monotonic()
        return now - self.first_seen.setdefault((part, number), now)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands there; None if there is none."""
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None
