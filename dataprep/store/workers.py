"""Workers on several machines: what each tells of itself, and how they keep out of each other's way.

    jobs/workers/NAME.json                  a worker: what it does; the time of the file is its heartbeat
    jobs/PLACE/STEP.plan.json               the plan of an open step (`step.py`)
    jobs/PLACE/STEP.claims/PART.0001.json   the first try of a part, made by link(2): one worker has it
    jobs/PLACE/STEP.failed/PART.0001.json   how that try failed

Claims only deal out parts; records decide content. So two workers that make the same part cost time and
change nothing, and a claim that was lost, or stands for a worker that is gone, does no harm.
"""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import attempt_path, write_once

T = TypeVar("T")

HEARTBEAT_S = 30.0
"""A worker touches its file so often."""
SILENT_S = 300.0
"""Others hold a worker dead when its file has not changed for so long."""
TRIES = 3
"""A part is given up after so many tries that failed by its own fault, or twice as many in all."""
LOST = "lost"
"""The kind of a failure that may not be the part's fault: its worker was gone."""


class OpenPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part that a worker is making. place: the folder of the step's plan, relative to the corpus or pack.
    number: which try. since: seconds since 1970."""

    step: str
    place: str
    part: str
    number: int
    since: float


class Worker(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One worker.

    slurm: the SLURM_* variables that say which task of which job it is, if any. made: parts that it has
    committed. failed: tries that failed. busy_s, idle_s: seconds of its processes, with a part and without.
    heeds: the newest request of a command that removes which it has seen. ended: why it left, "" while it
    works. log: where its output goes, "" if unknown.
    """

    name: str
    host: str
    pid: int
    stage: str
    started: float
    processes: int = 1
    slurm: dict[str, str] = {}
    log: str = ""
    open: list[OpenPart] = []
    made: int = 0
    failed: int = 0
    busy_s: float = 0
    idle_s: float = 0
    heeds: int = 0
    ended: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One try of a part. since: seconds since 1970."""

    worker: str
    host: str
    since: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How a try failed. kind: error (it raised), killed, hung (no progress) or LOST."""

    worker: str
    host: str
    at: float
    kind: str
    reason: str
    log: str = ""


def workers_folder(root: Path) -> Path:
    """Where the workers of a corpus, or of a pack, tell of themselves."""
    return root / "jobs" / "workers"


def new_worker(stage: str, processes: int) -> Worker:
    """This process as a worker; its name is no other's."""
    host, now = socket.gethostname(), time.time()
    slurm = {key: value for key, value in os.environ.items() if key in _SLURM}
    return Worker(
        name=f"{host}-{os.getpid()}-{time.time_ns():x}",
        host=host,
        pid=os.getpid(),
        stage=stage,
        started=now,
        processes=processes,
        slurm=slurm,
        log=os.environ.get("OUTBOUND_LOG", ""),
    )


_SLURM = (
    "SLURM_JOB_ID SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_RESTART_COUNT SLURMD_NODENAME "
    "SLURM_JOB_PARTITION"
).split()


def tell(root: Path, worker: Worker) -> None:
    """Write a worker's file: its heartbeat."""
    path = workers_folder(root) / f"{worker.name}.json"
    attempt = attempt_path(path.parent, path.name)
    attempt.write_bytes(dump(worker))
    os.replace(attempt, path)


def all_workers(root: Path) -> list[Worker]:
    """Every worker that has told of itself, by name."""
    paths = sorted(workers_folder(root).glob("*.json"))
    return [worker for path in paths if (worker := read_or_none(path, Worker))]


@dataclass(frozen=True)
class _Seen:
    """A worker's file when it last changed; since: when that was noticed, on this process's own clock."""

    changed: int
    since: float
    worker: Worker | None


@dataclass
class Pulses:
    """Which workers live, as one observer sees it: it compares no clock of another machine with its own."""

    root: Path
    silent_s: float = SILENT_S
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def is_dead(self, name: str) -> bool:
        """Whether a worker has ended, is no process of this machine any more, or has long been silent."""
        path = workers_folder(self.root) / f"{name}.json"
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        now = time.monotonic()
        before = self._seen.get(name)
        if before is None or before.changed != changed:
            before = self._seen[name] = _Seen(changed, now, read_or_none(path, Worker))
        worker = before.worker
        if worker and (worker.ended or (worker.host == socket.gethostname() and not is_alive(worker.pid))):
            return True
        return now - before.since >= self.silent_s


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
        own_fault = sum(failure.kind != LOST for failure in self.failures.values())
        return own_fault >= TRIES or len(self.failures) >= 2 * TRIES

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

    def tries(self) -> dict[str, Tries]:
        """All tries, by part; of a part that nobody has claimed yet, none."""
        found: defaultdict[str, Tries] = defaultdict(Tries)
        for part, number in _numbered(self.folder / f"{self.step}.claims"):
            found[part].claims.add(number)
        for part, number in _numbered(self.folder / f"{self.step}.failed"):
            if failure := self._failure(part, number):
                found[part].claims.add(number)
                found[part].failures[number] = failure
        return found

    def take(self, part: str, number: int) -> bool:
        """Claim a try; False when another worker has it, or the step is finished."""
        path = self._path("claims", part, number)
        if not path.parent.exists():
            return False
        claim = Claim(worker=self.worker.name, host=self.worker.host, since=time.time())
        # A reply that was lost may have been that of a claim which succeeded: then it is ours.
        return write_once(path, dump(claim)) or self.holder(part, number) == self.worker.name

    def holder(self, part: str, number: int) -> str:
        """The worker of a try, "" if the claim is gone."""
        if (part, number) not in self._holders:
            claim = read_or_none(self._path("claims", part, number), Claim)
            if claim is None:
                return ""
            self._holders[part, number] = claim.worker
        return self._holders[part, number]

    def release(self, part: str, number: int) -> None:
        """Give a try back that neither failed nor ended."""
        self._path("claims", part, number).unlink(missing_ok=True)

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

    def lose(self, part: str, number: int, holder: str) -> None:
        """Note that the worker of a try is gone."""
        claim = read_or_none(self._path("claims", part, number), Claim)
        if claim is None or claim.worker != holder:  # given back, and perhaps taken by another
            del self._holders[part, number]
            return
        failure = Failure(
            worker=holder,
            host=claim.host,
            at=time.time(),
            kind=LOST,
            reason="its worker ended or fell silent before the part was made",
        )
        self._note(part, number, failure)

    def _note(self, part: str, number: int, failure: Failure) -> None:
        if self.folder.exists():
            write_once(self._path("failed", part, number), dump(failure))

    def _failure(self, part: str, number: int) -> Failure | None:
        if (part, number) not in self._failures:
            failure = read_or_none(self._path("failed", part, number), Failure)
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


def read_or_none(path: Path, kind: type[T]) -> T | None:
    """What a file says; None if it is gone, or is being written on another machine."""
    with suppress(DataError):
        return load(path, kind)
    return None


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and waits for its parent does not."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False
