"""Who may ask a site: one process at a time, by a lock that the kernel takes back when its holder dies.

Partitions hold whole sites, so two workers meet at one only by mistake: a partition given out twice, or an
older attempt that still runs. Then the one that comes second leaves the site for last, and waits. The lock is
flock(2) on a file that exists while the site has an owner. NFS, Lustre (mounted with `flock`) and GPFS keep
such locks over nodes; where a filesystem has none, whole sites in a partition are all there is.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import xxhash

from dataprep.errors import DataError
from dataprep.store.locks import NO_LOCKS_HERE


class Owners:
    """The owners of sites among all processes that crawl into one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def take(self, site: str) -> Ownership | None:
        """Become the owner of a site, or None while somebody else is; raises DataError on a full disk."""
        path = self._directory / f"{xxhash.xxh3_64_hexdigest(site.encode())}.lock"
        while True:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}; make room and run again to go on") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return None
            except OSError as error:
                if error.errno not in NO_LOCKS_HERE:
                    raise DataError(f"{path}: cannot be locked: {error.strerror}") from error
            if _is_at(file, path):
                return Ownership(path, file)
            os.close(file)  # the owner before us removed the file that we have just locked


class Ownership:
    """A site of one's own, until `release`."""

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file

    def release(self) -> None:
        """Let others have the site."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
