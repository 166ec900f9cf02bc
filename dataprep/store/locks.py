"""Who is at work in a corpus: commands that add share it, commands that remove have it for themselves.

The lock is flock(2) on `.lock` in the corpus's directory; the kernel takes it back when its holder dies. NFS,
Lustre (mounted with `flock`) and GPFS keep such locks over nodes. Where a filesystem has none, nothing is
locked, and only `gc`'s rule of age guards a command that runs on another node.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataprep.errors import DataError

NO_LOCKS_HERE = frozenset([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])


@contextmanager
def shared(root: Path) -> Iterator[None]:
    """Work in a corpus beside others; raises DataError while a command that removes is at work."""
    with _lock(root, fcntl.LOCK_SH, "a command that removes (forget, gc, drop) is at work here"):
        yield


@contextmanager
def reading(root: Path) -> Iterator[None]:
    """Read a corpus while nothing is removed from it, as `shared`; without a lock where we may not write."""
    if os.access(root, os.W_OK):
        with shared(root):
            yield
    else:
        yield


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Work in a corpus while nobody else does; raises DataError while somebody is at work."""
    with _lock(root, fcntl.LOCK_EX, "another command is at work here (add, import, select, pack ...)"):
        yield


@contextmanager
def waiting(directory: Path) -> Iterator[None]:
    """Do what takes an instant while no other process does it in this directory; waits for that.

    Where the filesystem has no lock for a directory, nothing is locked.
    """
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


@contextmanager
def _lock(root: Path, kind: int, busy: str) -> Iterator[None]:
    try:
        file = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        remedy = f"let {root} be writable, or remove what stands there"
        raise DataError(f"{root / '.lock'}: cannot be opened ({error.strerror}); {remedy}") from None
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise DataError(f"{root}: {busy}; wait until it has ended") from None
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            os.close(file)
            raise DataError(f"{root / '.lock'}: cannot be locked: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(file)
