"""Files that appear whole or not at all, and the records that make them count.

An attempt writes under a name of its own; `publish` hashes, syncs and renames the file to a name that holds
its hash, so two attempts that make the same bytes make the same file. A partition is done when its one record
exists: written last, first wins (link(2) fails if the name is taken). What no record names is garbage.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from dataprep.errors import DataError, unreadable
from dataprep.seal import sealed, unsealed

READ_BYTES = 4 << 20
OTHERWISE = "restore it from a copy, or, in an unfinished increment, delete it and run the command again"

_latest: Path | None = None
"""The file that this process began to write last."""
NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])


@dataclass(frozen=True)
class Output:
    """One published file: its path relative to the corpus, its size and hash, and its rows if it has any."""

    path: str
    bytes: int
    xxh3_128: str
    rows: int = 0


@dataclass(frozen=True)
class Record:
    """What a finished partition read, made and counted; `versions` name the code that decided the bytes."""

    stage: str
    part: str
    inputs: dict[str, str]
    outputs: list[Output]
    entered: int
    passed: int
    reasons: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def hash_file(path: Path) -> str:
    """xxh3_128 of a file's bytes, as hex."""
    digest = xxhash.xxh3_128()
    room = memoryview(bytearray(READ_BYTES))  # one for all: fresh memory costs more than hashing it
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(room):
            digest.update(room[:count])
    return digest.hexdigest()


def attempt_path(directory: Path, stem: str) -> Path:
    """A name that no other attempt has, for a file that is still being written."""
    global _latest
    directory.mkdir(parents=True, exist_ok=True)
    _latest = directory / f".{stem}.{socket.gethostname()}.{os.getpid()}.part"
    return _latest


def told(error: OSError) -> DataError | None:
    """What to tell of a failure that the user can mend, with path, reason and remedy; else None."""
    return full(error) or _forbidden(error) or _misplaced(error)


def full(error: OSError) -> DataError | None:
    """What to tell of a write that failed because the disk, or the user's share of it, is full; else None.

    The system does not name the file of a failed write: it is the attempt that this process began last,
    and it is removed, to give its room back.
    """
    if error.errno not in NO_ROOM:
        return None
    name = error.filename or _latest
    if not error.filename and _latest:
        _latest.unlink(missing_ok=True)
    return DataError(
        f"{_asked_for(name) if name else 'a file'}: {os.strerror(error.errno)}; make room and run "
        "the same command again: what is finished stands, and it goes on from there"
    )


def _forbidden(error: OSError) -> DataError | None:
    """Of a place where the user may not read or write; Arrow does not name what it could not open."""
    name = error.filename or (_latest if _latest and not os.access(_latest.parent, os.W_OK) else None)
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM) or not name:
        return None
    remedy = "choose a place where you may read and write, or change the permissions there"
    return DataError(f"{_asked_for(name)}: {os.strerror(error.errno)}; {remedy}")


def _misplaced(error: OSError) -> DataError | None:
    """Of a path where no file stands, or something else than one."""
    kinds = FileNotFoundError | FileExistsError | IsADirectoryError | NotADirectoryError
    if not isinstance(error, kinds) or not (name := error.filename2 or error.filename):
        return None
    path = _asked_for(name)
    remedy = "choose another path, or restore it from a copy"
    if isinstance(error, FileExistsError | NotADirectoryError):
        for place in (path, *path.parents):
            if place.exists() and not place.is_dir():
                return DataError(f"{place}: is a file; give a directory, or restore what stood there")
    if isinstance(error, IsADirectoryError):
        return DataError(f"{path}: is a directory, where a file is wanted; {remedy}")
    return DataError(f"{path}: {error.strerror}; {remedy}")


def _asked_for(name: str | Path) -> Path:
    """The file that an attempt is to become, or the path itself: nobody knows the names of attempts."""
    path = Path(os.fsdecode(name))
    attempt = _ATTEMPT.fullmatch(path.name)
    return path.with_name(attempt["stem"]) if attempt else path


_ATTEMPT = re.compile(rf"\.(?P<stem>.+)\.{re.escape(socket.gethostname())}\.\d+\.part")


def publish(root: Path, written: Path, stem: str, suffix: str, rows: int = 0) -> Output:
    """Make a finished file current under `STEM-HASH.SUFFIX` in its own directory."""
    digest = hash_file(written)
    final = written.with_name(f"{stem}-{digest[:12]}{suffix}")
    _sync(written)
    os.replace(written, final)
    return Output(str(final.relative_to(root)), final.stat().st_size, digest, rows)


def publish_table(root: Path, directory: Path, stem: str, table: pa.Table) -> Output:
    """Write a table as Parquet and publish it."""
    written = attempt_path(directory, stem)
    pq.write_table(table, written, compression="zstd", row_group_size=16384)
    return publish(root, written, stem, ".parquet", rows=table.num_rows)


def publish_array(root: Path, directory: Path, stem: str, array: npt.NDArray[Any]) -> Output:
    """Write an array as .npy and publish it."""
    written = attempt_path(directory, stem)
    with written.open("wb") as file:
        np.save(file, array)
    return publish(root, written, stem, ".npy", rows=len(array))


def commit(path: Path, record: Record) -> Record:
    """Make a partition done. If another attempt was first, its record stands and is returned."""
    return record if write_once(path, sealed(record)) else load_record(path)


def recommit(path: Path, record: Record) -> Record:
    """Put a record in the place of one that another version made."""
    replace(path, sealed(record))
    return record


def load_record(path: Path) -> Record:
    """Read a record; raises DataError when it is damaged or of another partition."""
    record = unsealed(path, Record, OTHERWISE)
    if record.part != path.stem:
        raise DataError(f"{path}: is the record of {record.part!r}; {OTHERWISE}")
    return record


def done(path: Path, inputs: dict[str, str]) -> Record | None:
    """The record of a partition that was made from just these inputs, or None when it is not done yet."""
    if not path.exists():
        return None
    record = load_record(path)
    if record.inputs != inputs:
        changed = sorted(dict(record.inputs.items() ^ inputs.items()))
        raise DataError(
            f"{path}: was made from other inputs ({', '.join(changed[:5])}); give the same dumps, use "
            "another --name, or, if the increment is unfinished, begin it anew after `outbound corpus drop`"
        )
    return record


def write_once(path: Path, content: bytes) -> bool:
    """Create a file whole, unless it exists already; says whether this call made it."""
    attempt = attempt_path(path.parent, path.name)
    attempt.write_bytes(content)
    _sync(attempt)
    try:
        os.link(attempt, path)
    except FileExistsError:
        return False
    finally:
        attempt.unlink()
    return True


def replace(path: Path, content: bytes) -> None:
    """Write a file whole over the one that stands."""
    attempt = attempt_path(path.parent, path.name)
    attempt.write_bytes(content)
    _sync(attempt)
    try:
        os.replace(attempt, path)
    except OSError:
        attempt.unlink()
        raise


def read_table(
    root: Path, outputs: Iterable[Output], columns: list[str] | None = None, filters: Any = None
) -> pa.Table:
    """Read published Parquet files, in their order, as one table; of none, the named columns, empty.

    filters: which rows, as pyarrow takes them. Raises DataError for a file that is missing or damaged.
    """
    if not (outputs := list(outputs)):
        return pa.table({name: pa.array([]) for name in columns or []})
    return pa.concat_tables([_read(root / output.path, columns, filters) for output in outputs])


def read_batches(
    root: Path, outputs: Iterable[Output], rows: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read published Parquet files, in their order, as batches of so many rows, the last of a file fewer.

    Raises DataError for a file that is missing or damaged.
    """
    for output in outputs:
        path = root / output.path
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(rows, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, error) from None


def _read(path: Path, columns: list[str] | None, filters: Any) -> pa.Table:
    try:
        if path.is_dir():  # which Arrow would read as a table of all that it holds
            raise IsADirectoryError(errno.EISDIR, "a directory stands in its place")
        return pq.read_table(path, columns=columns, filters=filters)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
