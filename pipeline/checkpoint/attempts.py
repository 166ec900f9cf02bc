"""Attempts of a run: each start takes the next number, and writes and deletes only below its own folder.

    RUN/attempts/0002.json   who it is, the checkpoint it resumed from, and how it ended
    RUN/attempts/0002/       all that it writes: config.yaml, checkpoints/, metrics.jsonl, log.txt, wandb/ ...

link(2) makes the JSON, and the first to make it has the number; afterwards only that attempt replaces it. An
attempt begins when it has linked a checkpoint into its own folder and noted where that came from. The run as
it stands is the highest attempt that has begun, before it the one that it resumed from, up to that step, and
so on down this chain. So a start whose configuration is refused changes nothing, and neither does an old copy
that lives on, behind a cut network or stopped for an hour: what it adds lies beyond the step that counts.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from dataprep.store import checksummed_json, files
from pipeline.errors import Superseded

SILENT_S = 300.0
"""An attempt that wrote nothing for so long, and noted no end, counts as killed. One that lives all the
same ends once the next has begun."""

_NAME = re.compile(r"(\d{4,})(?:\.json)?")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Checkpoint that an attempt resumed from; attempt 0, step 0 when there was none."""

    attempt: int
    step: int


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, by its own account; one that was killed leaves none."""

    at: float
    """Unix time in seconds."""
    code: int
    """0 finished, 75 stopped and to be continued, 76 superseded, 2 refused, 1 failed."""
    step: int
    reason: str
    """One line."""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, rename={"origin": "from"}):
    """One attempt's JSON."""

    number: int
    host: str
    pid: int
    job: str
    """Slurm's job id; empty without Slurm."""
    restart: int
    """How often Slurm has requeued the job."""
    nodes: str
    """Slurm's list of nodes."""
    processes: int
    started: float
    """Unix time in seconds."""
    origin: Origin | None = None
    """Called "from" in the JSON; null until the attempt has begun."""
    ended: Ending | None = None


class Link(NamedTuple):
    """One attempt's share of the run as it stands."""

    number: int
    until: int | None
    """Last step that counts; all of them when None."""


@dataclass
class Attempt:
    """One start of a run: its number and its folder."""

    run: Path
    number: int
    step: int = 0
    """Last step taken."""

    @property
    def folder(self) -> Path:
        """Directory that holds all that the attempt writes."""
        return folder(self.run, self.number)

    def begin(self, origin: Origin) -> None:
        """Own the run from here on. Raises Superseded when a later attempt has begun already."""
        self.step = origin.step
        self._update(origin=origin)
        if newer := self.successor():
            raise Superseded(newer)

    def successor(self) -> str | None:
        """Describe the later attempt that owns the run now, if there is one."""
        number = latest(self.run)
        if number is None or number <= self.number:
            return None
        record = read(self.run, number)
        return f"{self.run}: attempt {number} on {record.host} has taken over from attempt {self.number}"

    def end(self, code: int, reason: str) -> None:
        """Note how it ended."""
        line = " ".join(reason.split())
        self._update(ended=Ending(at=time.time(), code=code, step=self.step, reason=line))

    def _update(self, **changes: Origin | Ending) -> None:
        record = msgspec.structs.replace(read(self.run, self.number), **changes)
        files.replace(_record_path(self.run, self.number), checksummed_json.dump(record))


def claim(run: Path, processes: int) -> Attempt:
    """Take the next number of a run."""
    while True:
        number = max(_numbers(run), default=0) + 1
        record = AttemptRecord(
            number=number,
            host=host_name(),
            pid=os.getpid(),
            job=os.environ.get("SLURM_JOB_ID", ""),
            restart=int(os.environ.get("SLURM_RESTART_COUNT", 0)),
            nodes=os.environ.get("SLURM_JOB_NODELIST", ""),
            processes=processes,
            started=time.time(),
        )
        if files.write_once(_record_path(run, number), checksummed_json.dump(record)):
            attempt = Attempt(run, number)
            attempt.folder.mkdir()
            return attempt


def host_name() -> str:
    """Name of this machine, as Slurm calls it where it runs us."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def runs_of(directory: Path) -> list[Path]:
    """The seeds of a fine-tuning that have begun, the newest last; of any other directory itself."""

    def started(seed: Path) -> float:
        return max((read(seed, number).started for number in numbers(seed)), default=0.0)

    seeds = [path.parent for path in directory.glob("seed-*/attempts")]
    return sorted(seeds, key=started) or [directory]


def folder(run: Path, number: int) -> Path:
    """Directory of an attempt."""
    return run / "attempts" / f"{number:04d}"


def numbers(run: Path) -> list[int]:
    """Attempts that have a record, the first first."""
    return sorted(number for number in set(_numbers(run)) if _record_path(run, number).exists())


def read(run: Path, number: int) -> AttemptRecord:
    """Read an attempt's record. Raises DataError when it is missing or damaged."""
    remedy = (
        f"{checksummed_json.RESTORE}, or move attempt {number} and all later ones out of {run / 'attempts'}: "
        "the run then resumes from the attempt before"
    )
    return checksummed_json.load(_record_path(run, number), AttemptRecord, remedy)


def latest(run: Path) -> int | None:
    """Number of the attempt that owns the run: the highest that has begun.

    Raises DataError when a record is damaged, or missing beside its folder: who owns the run is then unknown.
    """
    taken = sorted(set(_numbers(run)), reverse=True)
    return next((number for number in taken if read(run, number).origin), None)


def alive(run: Path) -> AttemptRecord | None:
    """The newest attempt, if it seems to be at work: it has not ended, and wrote something not long ago.

    One on this machine whose process is gone is not. Raises DataError when its record is damaged.
    """
    number = max(numbers(run), default=0)
    if not number or (record := read(run, number)).ended:
        return None
    if record.host == host_name() and not Path(f"/proc/{record.pid}").exists():
        return None
    inside = [path for pattern in ("*", "checkpoints/*") for path in folder(run, number).glob(pattern)]
    last = 0.0
    for path in (_record_path(run, number), *inside):
        with suppress(FileNotFoundError):  # it lets go of a checkpoint
            last = max(last, path.stat().st_mtime)
    return record if time.time() - last < SILENT_S else None


def chain(run: Path) -> list[Link]:
    """Attempts that make up the run as it stands, the newest first; none before one has begun.

    Raises DataError when a record is missing or damaged.
    """
    links = []
    link = Link(latest(run) or 0, None)
    while link.number:
        links.append(link)
        origin = read(run, link.number).origin
        assert origin is not None  # nobody resumes from an attempt that has not begun
        link = Link(origin.attempt, origin.step)
    return links


def latest_file(run: Path, name: str) -> Path | None:
    """A file of the attempt that owns the run, such as its config.yaml; None when it is not there."""
    number = latest(run)
    path = folder(run, number) / name if number else None
    return path if path and path.exists() else None


def _numbers(run: Path) -> Iterator[int]:
    """Numbers that are taken, by a record or by a folder that has lost it."""
    directory = run / "attempts"
    for name in os.listdir(directory) if directory.is_dir() else ():
        if found := _NAME.fullmatch(name):
            yield int(found[1])


def _record_path(run: Path, number: int) -> Path:
    return run / "attempts" / f"{number:04d}.json"
