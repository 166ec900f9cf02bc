"""How a command that removes gets a corpus for itself while workers are busy on other machines.

    jobs/exclusive/0003.json

A lock of the filesystem cannot be trusted over machines: some keep none, some keep it on each machine apart.
So the command writes a numbered request. Each worker that sees it drops what it is making, notes the number
in its own file, and waits until the request is done. The command begins when all that live have noted it.

A worker that was stopped meanwhile may wake long after. It looks for newer requests when the file of its
commit is written and only the name is missing (`files.before_commit`); and the command removes the files of
attempts before it begins, so a worker that had just looked has nothing left to name.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from dataprep.errors import DataError
from dataprep.store import locks
from dataprep.store.checksummed_json import dump, load_or_none
from dataprep.store.files import attempt_path, write_once
from dataprep.store.workers import (
    HEARTBEAT_S,
    SILENT_S,
    Pulses,
    all_workers,
    is_alive,
    workers_folder,
)

LOOK_S = 0.2
"""How often the command looks whether all have noted its request."""


class Excluded(Exception):
    """A command that removes has begun; nothing more may be committed until it is done."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What `jobs/exclusive/NUMBER.json` holds."""

    host: str
    pid: int
    done: bool


def newest(root: Path) -> int:
    """The number of the newest request, done or not; 0 if there was none."""
    with suppress(FileNotFoundError):
        return max((int(path.stem) for path in _folder(root).glob("[0-9]*.json")), default=0)
    return 0


def refuse_newer(root: Path, heeded: int) -> None:
    """Raise Excluded when a newer request was made than that."""
    if newest(root) > heeded:
        raise Excluded


class Pending:
    """The newest request, as a worker sees it."""

    def __init__(self, root: Path, silent_s: float = SILENT_S) -> None:
        self._root, self._silent_s = root, silent_s
        self._seen = (0, 0.0)

    def stands(self, number: int) -> bool:
        """Whether a request is not done yet, and its command lives."""
        path = _folder(self._root) / f"{number:04d}.json"
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        request = load_or_none(path, Request)
        if request and request.done:
            return False
        now = time.monotonic()
        if changed != self._seen[0]:
            self._seen = changed, now
        return now - self._seen[1] < self._silent_s


@contextmanager
def alone(root: Path, silent_s: float = SILENT_S) -> Iterator[None]:
    """Have a corpus for oneself: no other command, and no worker of any machine, is at work.

    A worker that is silent for `silent_s` is dead. Raises DataError while another command is at work here.
    """
    with locks.alone(root):
        _refuse_rival(root)
        path = _request(root)
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(path, ended), daemon=True)
        beat.start()
        try:
            _wait(root, int(path.stem), silent_s)
            for attempt in _attempts(root):
                attempt.unlink(missing_ok=True)
            yield
        finally:
            ended.set()
            beat.join()
            if workers_folder(root).exists():
                _write(path, done=True)
            else:
                path.unlink(missing_ok=True)
                for emptied in (path.parent, path.parent.parent):
                    with suppress(OSError):
                        emptied.rmdir()


def _refuse_rival(root: Path) -> None:
    """Raise DataError while another command removes, which the lock does not show on every filesystem."""
    path = _folder(root) / f"{newest(root):04d}.json"
    request = load_or_none(path, Request)
    if request is None or request.done:
        return
    is_here = request.host == socket.gethostname()
    is_fresh = time.time() - path.stat().st_mtime < SILENT_S
    if is_fresh and not (is_here and (request.pid == os.getpid() or not is_alive(request.pid))):
        raise DataError(
            f"{path}: a command that removes is at work here (process {request.pid} on {request.host}); wait "
            "until it has ended; if it was killed, run this again in five minutes"
        )


def _request(root: Path) -> Path:
    """Make a request that is the newest; those before it go."""
    while True:
        before = max([newest(root), *(worker.heeds for worker in all_workers(root))])
        path = _folder(root) / f"{before + 1:04d}.json"
        request = Request(host=socket.gethostname(), pid=os.getpid(), done=False)
        if write_once(path, dump(request)):
            for older in _folder(root).glob("[0-9]*.json"):
                if older != path and int(older.stem) <= before:
                    older.unlink(missing_ok=True)
            return path


def _wait(root: Path, number: int, silent_s: float) -> None:
    """Wait until every living worker has noted the request."""
    pulses = Pulses(root, silent_s)
    while any(worker.heeds < number and not pulses.is_dead(worker.name) for worker in all_workers(root)):
        time.sleep(LOOK_S)
    for worker in all_workers(root):
        if worker.heeds < number:  # it is dead; nobody need wait for it again
            (workers_folder(root) / f"{worker.name}.json").unlink(missing_ok=True)


def _attempts(root: Path) -> Iterator[Path]:
    """The files of attempts of all that workers commit."""
    yield from root.glob(".*.part")
    for folder in root.iterdir():
        if folder.is_dir() and folder.name != "jobs":
            yield from folder.rglob(".*.part")
    for folder in (root / "jobs").glob("*"):
        if folder.name not in ("workers", "exclusive"):
            yield from folder.rglob(".*.part")


def _write(path: Path, done: bool) -> None:
    attempt = attempt_path(path.parent, path.name)
    attempt.write_bytes(dump(Request(host=socket.gethostname(), pid=os.getpid(), done=done)))
    os.replace(attempt, path)


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_S):
        with suppress(OSError):
            os.utime(path)


def _folder(root: Path) -> Path:
    return root / "jobs" / "exclusive"
