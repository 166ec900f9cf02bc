"""Read dumps of Reddit submissions in every form they have taken since 2005.

NDJSON in zstd (with the 2 GiB window of the real dumps), xz, bz2, gzip or plain. The form is told by the
first bytes, not by the name. Nothing ends silently: what cannot be read is counted and described in a
`Damage`, and everything before it is delivered. Memory: one chunk and one line, and the decompressor's window
(2.2 GB for a real `.zst`).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from backports import zstd

CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 64 << 20
EXAMPLES = 10
_READ_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class Submission(msgspec.Struct):
    """The fields of a submission that the pipeline uses, as loosely typed as the dumps are."""

    id: str
    url: str | None = None
    score: int | float | str | None = None
    created_utc: int | float | str | None = None
    subreddit: str | None = None
    is_self: bool | None = None
    over_18: bool | None = None
    removed_by_category: str | None = None


@dataclass
class Damage:
    """What was wrong with one dump: lines that are no submission, and where reading had to stop."""

    path: str
    lines: int = 0
    bad_lines: int = 0
    examples: list[str] = field(default_factory=list)
    stopped: str | None = None

    def bad(self, reason: object) -> None:
        self.bad_lines += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"line {self.lines}: {reason}")


def read_dump(path: Path, damage: Damage) -> Iterator[Submission]:
    """Yield the submissions of one dump in file order, and note in `damage` what could not be read.

    Raises OSError when the file cannot be opened at all.
    """
    decode = msgspec.json.Decoder(Submission).decode
    for line in _lines(path, damage):
        damage.lines += 1
        if not line.strip():
            continue
        try:
            yield decode(line)
        except msgspec.DecodeError as error:
            damage.bad(error)


def number(value: int | float | str | None) -> int | None:
    """A whole number from what a dump holds: 3, 3.0, "3"; None when it is none of these."""
    try:
        return None if value is None else int(float(value))
    except (ValueError, OverflowError):
        return None


def open_dump(path: Path) -> BinaryIO:
    """Open a dump for reading its text, whatever its compression."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        window: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 31}
        return cast(BinaryIO, zstd.open(path, "rb", options=window))
    if magic.startswith(b"\xfd7zXZ\x00"):
        return cast(BinaryIO, lzma.open(path))
    if magic.startswith(b"BZh"):
        return cast(BinaryIO, bz2.open(path))
    if magic.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")


def _lines(path: Path, damage: Damage) -> Iterator[bytes]:
    """Split a dump into lines; on a read error say where it was and end after what could be read."""
    rest = b""
    read_bytes = 0
    with open_dump(path) as file:
        while True:
            try:
                chunk = file.read(CHUNK_BYTES)
            except _READ_ERRORS as error:
                damage.stopped = (
                    f"unreadable after {read_bytes:,} bytes of text: {error or type(error).__name__}"
                )
                break
            if not chunk:
                break
            read_bytes += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
            if len(rest) > LONGEST_LINE_BYTES:
                damage.stopped = f"a line of over {LONGEST_LINE_BYTES:,} bytes ends at byte {read_bytes:,}"
                rest = b""
                break
    if rest:
        yield rest
