"""Files that appear whole or not at all.

An attempt writes under a name of its own; `publish` hashes, syncs and renames the file to a name that holds
its hash, so two attempts that make the same bytes make the same file. A file of a fixed name is written once,
first wins (link(2) fails if the name is taken), or replaced whole. Which files count, `records` says.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from dataprep.errors import unreadable

READ_BYTES = 4 << 20

latest_attempt: Path | None = None
"""The file that this process began to write last."""


def go_on() -> None:
    """Prevent nothing."""


before_commit: Callable[[], None] = go_on
"""What this process calls before a file appears or is replaced; it raises to prevent that."""


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One published file: its path relative to the corpus, its size and hash, and its rows if it has any."""

    path: str
    bytes: int
    xxh3_128: str
    rows: int = 0


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
    global latest_attempt
    directory.mkdir(parents=True, exist_ok=True)
    latest_attempt = directory / f".{stem}.{socket.gethostname()}.{os.getpid()}.part"
    return latest_attempt


def asked_for(name: str | Path) -> Path:
    """The file that an attempt is to become, or the path itself: nobody knows the names of attempts."""
    path = Path(os.fsdecode(name))
    attempt = _ATTEMPT.fullmatch(path.name)
    return path.with_name(attempt["stem"]) if attempt else path


_ATTEMPT = re.compile(rf"\.(?P<stem>.+)\.{re.escape(socket.gethostname())}\.\d+\.part")


def publish(root: Path, written: Path, stem: str, suffix: str, rows: int = 0) -> Output:
    """Make a finished file current under `STEM-HASH.SUFFIX` in its own directory."""
    digest = hash_file(written)
    final = written.with_name(f"{stem}-{digest[:12]}{suffix}")
    _rename(written, final)
    return Output(path=str(final.relative_to(root)), bytes=final.stat().st_size, xxh3_128=digest, rows=rows)


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


def write_once(path: Path, content: bytes) -> bool:
    """Create a file whole, unless it exists already; says whether this call made it."""
    attempt = attempt_path(path.parent, path.name)
    attempt.write_bytes(content)
    _sync(attempt)
    try:
        before_commit()
        os.link(attempt, path)
    except FileExistsError:
        return False
    finally:
        attempt.unlink(missing_ok=True)
    return True


def replace(path: Path, content: bytes) -> None:
    """Write a file whole over the one that stands."""
    attempt = attempt_path(path.parent, path.name)
    attempt.write_bytes(content)
    _rename(attempt, path)


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


def _rename(attempt: Path, final: Path) -> None:
    """Give a written attempt its final name; remove it where that fails or is prevented."""
    _sync(attempt)
    try:
        before_commit()
        os.replace(attempt, final)
    except BaseException:
        attempt.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
