"""A verification that processes share: its files, and the state of the corpus that it checks.

    jobs/verify/STATE-1/begun.json             written by the first process
    jobs/verify/STATE-1/records-1.plan.json    calls that are shared (`store/calls.py`)
    jobs/verify/STATE-1/report.json            the problems that were found, by the first process that is done

STATE is a hash of all that the report depends on: the directories as they were given, and the size and the
times of each file in them. So a changed file is never mistaken for one that was checked. A verification
that has its report is closed: a process that comes later begins the next one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import xxhash

from dataprep.audit.gc import VERIFIED, VERIFY
from dataprep.audit.verify import Report
from dataprep.corpus.directory import JOBS
from dataprep.store.calls import PLACE
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import write_once
from dataprep.store.workers import all_workers, forget_worker, is_at_work

VERSION = 1
"""Version of the calls and of the report: processes of two versions do not share a verification."""
QUIET_S = 24 * 3600.0
"""Age after which a verification is not joined: a disk may lose bytes without a change of times."""
UNCHECKED = frozenset([JOBS, "logs", "wandb", ".lock"])
"""Names in a directory that no verification reads."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The scope of the calls of one verification of a corpus, which stands in `path`."""

    root: Path
    path: Path

    @staticmethod
    def of(root: Path, state: str) -> Verification:
        """The verification of files in this state that can be joined, begun or not."""
        found = (root / JOBS / VERIFY / f"{state}-{number}" for number in count(1))
        path = next(path for path in found if not (_report(path).exists() or _is_left(path)))
        return Verification(root=root, path=path)

    def begin(self) -> None:
        """Write `begun.json`, unless another process has."""
        while not self.stands:
            with suppress(FileNotFoundError):  # another process tidies
                write_once(_begun(self.path), dump({"corpus": str(self.root.resolve())}))

    @property
    def places(self) -> dict[str, Path]:
        return {PLACE: self.path}

    @property
    def stands(self) -> bool:
        """Whether it has begun, and no process has removed it."""
        return _begun(self.path).exists()

    def reported(self, report: Report) -> Report:
        """Keep the report of this process if it is the first; returns the first one."""
        write_once(_report(self.path), dump(report))
        return load(_report(self.path), Report)


def _begun(path: Path) -> Path:
    return path / "begun.json"


def _report(path: Path) -> Path:
    return path / "report.json"


def _is_left(path: Path) -> bool:
    """Whether a verification has begun, and no process has worked on it for QUIET_S."""
    with suppress(FileNotFoundError):
        times = [each.stat().st_mtime for each in path.rglob("*")]
        return bool(times) and time.time() - max(times) > QUIET_S
    return False


def state_of(root: Path, tokens: Sequence[Path]) -> str:
    """The hash of a corpus, of token shards of it, and of the state of all their files."""
    places = (root, *tokens)
    digest = xxhash.xxh3_64(repr((VERSION, *map(str, places))).encode())
    for place in places:
        for file in _files(place):
            digest.update(repr(file).encode())
    return digest.hexdigest()


def forget_gone(root: Path) -> bool:
    """Forget the workers that verified here and are gone; returns whether any still verifies."""
    busy = False
    for worker in all_workers(root):
        if worker.stage in (VERIFY, VERIFIED):
            if not is_at_work(root, worker):
                forget_worker(root, worker)
            elif worker.stage == VERIFY:
                busy = True
    return busy


def tidy(root: Path) -> None:
    """Remove the files of verifications from a corpus, unless a process verifies there.

    One rename takes them away, so that no process mistakes a part of them for the whole.
    """
    if forget_gone(root):
        return
    away = root / JOBS / VERIFIED
    shutil.rmtree(away, ignore_errors=True)
    with suppress(OSError):  # another process may have been first
        (root / JOBS / VERIFY).rename(away)
    shutil.rmtree(away, ignore_errors=True)


def _files(root: Path) -> Iterator[tuple[str, int, int, int]]:
    """The files of a directory in order: path, bytes, and when the content and when the file was changed."""
    for folder, folders, names in os.walk(root, followlinks=True):
        if folder == str(root):
            folders[:], names = (
                [name for name in each if name not in UNCHECKED] for each in (folders, names)
            )
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with suppress(FileNotFoundError):  # it has just been removed
                status = os.stat(path)
                yield os.path.relpath(path, root), status.st_size, status.st_mtime_ns, status.st_ctime_ns
