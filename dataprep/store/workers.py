"""Workers on several machines, and what each reports of itself.

jobs/workers/NAME.json   a worker: what it does; the time of the file is its heartbeat
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from dataprep.store import files
from dataprep.store.checksummed_json import dump, load_or_none
from dataprep.store.files import attempt_path

T = TypeVar("T")

HEARTBEAT_S = 30.0
"""A worker touches its file so often."""
SILENT_S = 300.0
"""Others hold a worker dead when its file has not changed for so long."""


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
    works. log: where its output goes, "" if unknown. machine: where `pid` is known (`this_machine`).
    """

    name: str
    host: str
    pid: int
    machine: str
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


def workers_folder(root: Path) -> Path:
    """Where the files of the workers of a corpus or pack stand."""
    return root / "jobs" / "workers"


def new_worker(stage: str, processes: int) -> Worker:
    """This process as a worker; its name is no other's."""
    host, now = socket.gethostname(), time.time()
    slurm = {key: value for key, value in os.environ.items() if key in _SLURM}
    return Worker(
        name=f"{host}-{os.getpid()}-{time.time_ns():x}",
        host=host,
        pid=os.getpid(),
        machine=this_machine(),
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


def write_worker(root: Path, worker: Worker) -> None:
    """Write a worker's file: its heartbeat."""
    path, before = workers_folder(root) / f"{worker.name}.json", files.latest_attempt
    attempt = attempt_path(path.parent, path.name)
    try:
        attempt.write_bytes(dump(worker))
    except FileNotFoundError:  # another worker was the last, and has just removed the folder
        attempt = attempt_path(path.parent, path.name)
        attempt.write_bytes(dump(worker))
    os.replace(attempt, path)
    files.latest_attempt = before  # what fails next is that, and not this


def forget_worker(root: Path, worker: Worker) -> None:
    """Remove a worker's file, and the folder if it was the last."""
    path = workers_folder(root) / f"{worker.name}.json"
    path.unlink(missing_ok=True)
    for emptied in (path.parent, path.parent.parent):
        with suppress(OSError):
            emptied.rmdir()


def all_workers(root: Path) -> list[Worker]:
    """Every worker whose file can be read, by name."""
    paths = sorted(workers_folder(root).glob("*.json"))
    return [worker for path in paths if (worker := load_or_none(path, Worker))]


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
            before = self._seen[name] = _Seen(changed, now, load_or_none(path, Worker))
        worker = before.worker
        if worker and (worker.ended or (worker.machine == this_machine() and not is_alive(worker.pid))):
            return True
        return now - before.since >= self.silent_s


def this_machine() -> str:
    """The kernel that runs, and the namespace of its pids: containers may share a host's name."""
    booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{booted}/{os.readlink('/proc/self/ns/pid')}"


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and waits for its parent does not."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def is_anyone_at_work(root: Path) -> bool:
    """Whether any worker is at work, as `is_at_work`."""
    return any(is_at_work(root, worker) for worker in all_workers(root))


def is_at_work(root: Path, worker: Worker) -> bool:
    """Whether this worker has a heartbeat that is younger than SILENT_S, and has not ended."""
    with suppress(FileNotFoundError):
        return heartbeat_age_s(root, worker) < SILENT_S and not Pulses(root).is_dead(worker.name)
    return False


def heartbeat_age_s(root: Path, worker: Worker) -> float:
    """Seconds since a worker's last heartbeat by this machine's clock; FileNotFoundError without a file."""
    return max(time.time() - (workers_folder(root) / f"{worker.name}.json").stat().st_mtime, 0.0)
