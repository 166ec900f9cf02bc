"""Which dumps an increment is made of: `dumps.json`, written before any of them is read.

Whoever makes a part of the increment's links finds the dumps by it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from dataprep.corpus.directory import Facts, Increment
from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import hash_file, replace, write_once
from dataprep.store.pool import Progress
from dataprep.store.records import load_step, made_from_others, step_path

REMEDY = "restore it from a copy, or run the `outbound corpus add` of this increment again"


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """One dump. name: the path as it was given; path: the same, absolute."""

    name: str
    path: str
    bytes: int
    xxh3_128: str


class Dumps(msgspec.Struct, frozen=True, kw_only=True):
    """The dumps of an increment, in the order in which they were given.

    allow_truncated: what a truncated dump holds is taken.
    """

    dumps: list[Dump]
    allow_truncated: bool = False


def agree(
    increment: Increment, paths: list[Path], workers: int, progress: Progress, allow_truncated: bool = False
) -> None:
    """Note which dumps an increment is made of; the same dumps may have moved since an earlier call.

    Raises DataError when the increment is made of others.
    """
    for path in paths:
        if not str(path.absolute()).isprintable():
            raise DataError(f"{str(path)!r}: has a name that cannot be printed; rename it")

    def hashed(path: Path) -> Dump:
        found = Dump(
            name=str(path),
            path=str(path.absolute()),
            bytes=path.stat().st_size,
            xxh3_128=hash_file(path),
        )
        tick(1)
        return found

    with progress("hash", len(paths), "files") as tick, ThreadPoolExecutor(workers) as threads:
        now = Dumps(dumps=list(threads.map(hashed, paths)), allow_truncated=allow_truncated)
    finished, noted = step_path(increment.path, "links"), _path(increment)
    if finished.exists():
        then = {name: digest for name, digest in load_step(finished).inputs.items() if name.isdigit()}
        if then != _hashes(now):
            raise made_from_others(finished, then, _hashes(now))
    if write_once(noted, dump(now)):
        return
    standing = load(noted, Dumps, REMEDY)
    if _hashes(standing) != _hashes(now):
        raise made_from_others(noted, _hashes(standing), _hashes(now))
    if standing != now:
        replace(noted, dump(now))


def dumps_of(increment: Increment) -> Dumps:
    """The dumps of an increment; raises DataError when they were not noted."""
    return load(_path(increment), Dumps, REMEDY)


def hashes(scope: Facts) -> dict[str, str]:
    """The dumps as inputs of a step: number -> hash."""
    return _hashes(dumps_of(scope.increment))


def _hashes(dumps: Dumps) -> dict[str, str]:
    return {str(number): each.xxh3_128 for number, each in enumerate(dumps.dumps)}


def _path(increment: Increment) -> Path:
    return increment.path / "dumps.json"
