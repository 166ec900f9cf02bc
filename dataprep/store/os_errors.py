"""What to tell of failures that the user can mend: a full disk, a forbidden place, a missing file."""

from __future__ import annotations

import errno
import os

from dataprep.errors import DataError
from dataprep.store import files
from dataprep.store.files import asked_for

NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])


def explain_os_error(error: OSError) -> DataError | None:
    """What to tell of a failure that the user can mend, with path, reason and remedy; else None."""
    return explain_full_disk(error) or _forbidden(error) or _misplaced(error)


def explain_full_disk(error: OSError) -> DataError | None:
    """What to tell of a write that failed because the disk, or the user's share of it, is full; else None.

    The system does not name the file of a failed write: it is the attempt that this process began last,
    and it is removed, to give its room back.
    """
    if error.errno not in NO_ROOM:
        return None
    latest = files.latest_attempt
    name = error.filename or latest
    if not error.filename and latest:
        latest.unlink(missing_ok=True)
    return DataError(
        f"{asked_for(name) if name else 'a file'}: {os.strerror(error.errno)}; make room and run "
        "the same command again: what is finished stands, and it goes on from there"
    )


def _forbidden(error: OSError) -> DataError | None:
    """Of a place where the user may not read or write; Arrow does not name what it could not open."""
    latest = files.latest_attempt
    name = error.filename or (latest if latest and not os.access(latest.parent, os.W_OK) else None)
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM) or not name:
        return None
    remedy = "choose a place where you may read and write, or change the permissions there"
    return DataError(f"{asked_for(name)}: {os.strerror(error.errno)}; {remedy}")


def _misplaced(error: OSError) -> DataError | None:
    """Of a path where no file stands, or something else than one."""
    kinds = FileNotFoundError | FileExistsError | IsADirectoryError | NotADirectoryError
    if not isinstance(error, kinds) or not (name := error.filename2 or error.filename):
        return None
    path = asked_for(name)
    remedy = "choose another path, or restore it from a copy"
    if isinstance(error, FileExistsError | NotADirectoryError):
        for place in (path, *path.parents):
            if place.exists() and not place.is_dir():
                return DataError(f"{place}: is a file; give a directory, or restore what stood there")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: is a directory, where a file is wanted; {remedy}")
    return DataError(f"{path}: {error.strerror}; {remedy}")
