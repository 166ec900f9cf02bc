"""JSON files that say themselves whether they are as they were written: records, summaries, tombstones ...

    {
     "xxh3_128": "<the hash of all that follows this line>",
     "step": "links",
     ...

So it is one JSON object, and `tail -n +3 FILE | xxh128sum` checks it without us.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import xxhash

from dataprep.errors import DataError

T = TypeVar("T")

RESTORE = "restore it from a copy"

_HEAD = re.compile(rb'\{\n "xxh3_128": "([0-9a-f]{32})",\n')


def dump(body: Any) -> bytes:
    """The bytes of a file: an object of at least one member, with its hash."""
    _, _, rest = msgspec.json.format(msgspec.json.encode(body), indent=1).partition(b"\n")
    rest += b"\n"
    return b'{\n "xxh3_128": "%s",\n' % xxhash.xxh3_128_hexdigest(rest).encode() + rest


def load(path: Path, kind: type[T], remedy: str = RESTORE) -> T:
    """Read what `dump` wrote; raises DataError, with the remedy, for anything else."""
    return load_with_hash(path, kind, remedy)[0]


def load_or_none(path: Path, kind: type[T]) -> T | None:
    """The same; None if the file is gone, or another machine does not see all of it yet."""
    with suppress(DataError):
        return load(path, kind)
    return None


def load_with_hash(path: Path, kind: type[T], remedy: str = RESTORE) -> tuple[T, str]:
    """The same, and the hash that stands in the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    head = _HEAD.match(content)
    if not head:
        raise DataError(
            f"{path}: is damaged (it does not begin with its own hash, as outbound writes it); {remedy}"
        )
    rest = content[head.end() :]
    if xxhash.xxh3_128_hexdigest(rest).encode() != head[1]:
        raise DataError(f"{path}: is damaged (it was altered: its hash does not fit); {remedy}")
    try:
        return msgspec.json.decode(b"{" + rest, type=kind), head[1].decode()
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: is damaged ({error}); {remedy}") from None
