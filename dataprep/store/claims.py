"""Claims: which worker makes which part of an open step.

    jobs/PLACE/STEP.plan.json               the plan of an open step (`step.py`)
    jobs/PLACE/STEP.claims/PART.0001.json   the first try of a part, made by link(2): one worker has it
    jobs/PLACE/STEP.failed/PART.0001.json   how that try failed

Claims only deal out parts; records decide content. So two workers that make the same part cost time and
change nothing, and a claim that was lost, or stands for a worker that is gone, does no harm.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load_or_none
from dataprep.store.files import write_once
from dataprep.store.workers import Pulses, Worker

TRIES = 3
"""A part is given up after so many tries that failed by its own fault, or twice as many in all."""
LOST = "lost"
"""The kind of a failure that may not be the part's fault: its worker was gone."""
INTERRUPTED = "interrupted"
"""The kind of a try whose worker was gone, but which had got on: the next goes on from there."""


class GivenUp(DataError):
    """Parts of a step failed too often."""


class BadMachine(DataError):
    """This machine cannot work on: its disk is full, say, or parts failed here that others have made."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a part. since: seconds since 1970."""

    worker: str
    host: str
    since: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How a try failed. kind: error (it raised), killed, hung (no progress), LOST or INTERRUPTED."""

    worker: str
    host: str
    at: float
    kind: str
    reason: str
    log: str = ""


@dataclass
class Tries:
    """The tries of one part, by number."""

    claims: set[int] = field(default_factory=set)
    failures: dict[int, Failure] = field(default_factory=dict)

    @property
    def open(self) -> set[int]:
        """Those that have not failed."""
        return self.claims - self.failures.keys()

    @property
    def is_given_up(self) -> bool:
        """Whether it is not worth another try."""
        kinds = [failure.kind for failure in self.counted]
        return len(kinds) - kinds.count(LOST) >= TRIES or len(kinds) >= 2 * TRIES

    @property
    def counted(self) -> list[Failure]:
        """The failures in order, but those of tries that were only interrupted."""
        return [each for _, each in sorted(self.failures.items()) if each.kind != INTERRUPTED]

    def have_failed_on(self, host: str) -> bool:
        """Whether a try has failed on a machine."""
        return any(failure.host == host for failure in self.failures.values())

    @property
    def next(self) -> int:
        """The number of another try."""
        return max(self.claims, default=0) + 1


@dataclass
class Claims:
    """The claims of one open step. folder: where its plan stands."""

    folder: Path
    step: str
    worker: Worker
    _holders: dict[tuple[str, int], str] = field(default_factory=dict)
    _failures: dict[tuple[str, int], Failure] = field(default_factory=dict)

    @property
    def failures(self) -> Path:
        """The folder of failed tries."""
        return self.folder / f"{self.step}.failed"

    def begin(self) -> None:
        """Let parts of the step be claimed."""
        self._path("claims", "", 0).parent.mkdir(exist_ok=True)

    def tries(self) -> defaultdict[str, Tries]:
        """All tries, by part; of a part that nobody has claimed yet, none."""
        found: defaultdict[str, Tries] = defaultdict(Tries)
        for part, number in _numbered(self.folder / f"{self.step}.claims"):
            found[part].claims.add(number)
        for part, number in _numbered(self.failures):
            if failure := self._failure(part, number):
                found[part].claims.add(number)
                found[part].failures[number] = failure
        return found

    def take(self, part: str, number: int) -> bool:
        """Claim a try; False when another worker has it, or the step is finished."""
        path = self._path("claims", part, number)
        if not path.parent.exists():
            return False
        if path.exists():  # as of most that others have: it spares writing one
            return self.holder(part, number) == self.worker.name
        claim = Claim(worker=self.worker.name, host=self.worker.host, since=time.time())
        # A reply that was lost may have been that of a claim which succeeded: then it is ours.
        return write_once(path, dump(claim)) or self.holder(part, number) == self.worker.name

    def holder(self, part: str, number: int) -> str:
        """The worker of a try, "" if the claim is gone."""
        if (part, number) not in self._holders:
            claim = load_or_none(self._path("claims", part, number), Claim)
            if claim is None:
                return ""
            self._holders[part, number] = claim.worker
        return self._holders[part, number]

    def held(
        self,
        part: str,
        numbers: set[int],
        pulses: Pulses,
        record: Path,
        is_fruitful: Callable[[Path], bool] = lambda claim: False,
    ) -> list[int]:
        """The tries, of some, whose workers live, or have made the part: then its record stands.

        Any other is noted as lost, or as interrupted if `is_fruitful(claim)`.
        """
        alive = list[int]()
        for number in sorted(numbers):
            holder = self.holder(part, number)
            if holder and pulses.is_dead(holder) and not record.exists():
                kind = INTERRUPTED if is_fruitful(self._path("claims", part, number)) else LOST
                if self.lose(part, number, holder, kind):
                    continue
            alive.append(number)
        return alive

    def release(self, part: str, number: int) -> None:
        """Give a try back that neither failed nor ended."""
        self._path("claims", part, number).unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give back what this worker has claimed and not given back, since the disk did not answer."""
        for part, tries in self.tries().items():
            for number in tries.open:
                if self.holder(part, number) == self.worker.name:
                    self.release(part, number)

    def fail(self, part: str, number: int, kind: str, reason: str) -> None:
        """Note that a try failed."""
        failure = Failure(
            worker=self.worker.name,
            host=self.worker.host,
            at=time.time(),
            kind=kind,
            reason=reason,
            log=self.worker.log,
        )
        self._note(part, number, failure)

    def lose(self, part: str, number: int, holder: str, kind: str = LOST) -> bool:
        """Note that the worker of a try is gone; False if another worker has it now."""
        claim = load_or_none(self._path("claims", part, number), Claim)
        if claim is None or claim.worker != holder:  # given back, and perhaps taken by another
            del self._holders[part, number]
            return False
        failure = Failure(
            worker=holder,
            host=claim.host,
            at=time.time(),
            kind=kind,
            reason="its worker ended or fell silent before the part was made",
        )
        self._note(part, number, failure)
        return True

    def given_up(self, left: Iterable[str]) -> GivenUp:
        """Name the parts of the step that nobody tries any more."""
        names = list(left)
        failures = self.tries()[names[0]].counted
        if not failures:  # they were removed just now
            return GivenUp(f"{self.failures}: is gone; run the command again, which tries its parts again")
        failure = failures[-1]
        return GivenUp(
            f"{self.failures}: {len(names)} of the parts of {self.step} failed too often, the first one "
            f"{names[0]} after {len(failures)} tries on {failure.host}: {failure.reason}; mend that, and "
            "work with --again"
        )

    def _note(self, part: str, number: int, failure: Failure) -> None:
        if self.folder.exists():
            write_once(self._path("failed", part, number), dump(failure))

    def _failure(self, part: str, number: int) -> Failure | None:
        if (part, number) not in self._failures:
            failure = load_or_none(self._path("failed", part, number), Failure)
            if failure is None:
                return None
            self._failures[part, number] = failure
        return self._failures[part, number]

    def _path(self, kind: str, part: str, number: int) -> Path:
        return self.folder / f"{self.step}.{kind}" / f"{part}.{number:04d}.json"


def _numbered(folder: Path) -> Iterator[tuple[str, int]]:
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            part, _, number = name.removesuffix(".json").rpartition(".")
            if number.isdecimal() and not name.startswith("."):
                yield part, int(number)
