"""ARC files, the Internet Archive's format before WARC (archive.org/web/researcher/ArcFileFormat.php).

They come plain, as gzip with a member for each record, or as one gzip stream. A record is a line (URL, IP
address, 14 digits of date, type, in version 2 more, and at the end the length) and the response as it was
received. Memory: one record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from dataprep.store.decompress import Unreadable, decompressed
from dataprep.warc.reader import HEAD_BYTES, RECORD_BYTES, Gap, NoRecord, WarcRecord, read_warc

MAGIC = b"filedesc:"
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SIZE = re.compile(rb"\d{1,18}")


def read_archive(path: Path, limit: int = RECORD_BYTES) -> Iterator[WarcRecord | Gap]:
    """Every record of a WARC or ARC file in its order, and every gap between them; raises as `read_warc`."""
    return read_arc(path, limit) if is_arc(path) else read_warc(path, limit)


def is_arc(path: Path) -> bool:
    """Whether a file begins as ARC files do, compressed or not."""
    try:
        with path.open("rb") as file:
            return next(decompressed(file), b"").startswith(MAGIC)
    except (OSError, Unreadable):
        return False


def read_arc(path: Path, limit: int = RECORD_BYTES) -> Iterator[WarcRecord | Gap]:
    """The records as WARC response records, none of them alone; offsets are those of the inflated text.

    After damage, the next line that begins a record is read; of a damaged gzip stream all that follows
    is lost. Raises NoRecord at the end of a file that holds none.
    """
    records = 0
    with path.open("rb") as file:
        text = _Text(decompressed(file))
        lost = -1  # where damage began
        while line := text.line():
            at, fields = text.at - len(line), _fields(line, path.name, text.at - len(line))
            if not fields:
                lost = at if lost < 0 and line.strip() else lost
                continue
            if lost >= 0:
                yield Gap(lost, at - lost, "damaged_record")
                lost = -1
            size = int(fields["content-length"])
            block = text.take(size, keep=size <= limit)
            if text.at < at + len(line) + size:
                yield Gap(at, text.at - at, "truncated")
                text.cut = False
            elif block is None:
                records += 1
                yield Gap(at, text.at - at, "too_large")
            elif not line.startswith(MAGIC):
                records += 1
                yield WarcRecord(at, text.at - at, fields, block, alone=False)
        if lost >= 0:
            yield Gap(lost, text.at - lost, "damaged_record")
        if text.cut:
            yield Gap(text.at, 0, "truncated")
    if not records:
        raise NoRecord(f"{path}: holds no ARC record but its own description; leave it out")


def _fields(line: bytes, name: str, at: int) -> dict[str, str] | None:
    """The named fields of the WARC record that a record becomes; None if the line begins none."""
    words = line.split()
    place = next((place for place, word in enumerate(words) if len(word) == 14 and word.isdigit()), 0)
    if place < 2 or place > len(words) - 2 or not _SCHEME.match(line) or not _SIZE.fullmatch(words[-1]):
        return None
    try:
        date = datetime.strptime(words[place].decode(), "%Y%m%d%H%M%S").strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:  # of digits that are no date
        date = ""
    return {
        "warc-type": "response",
        "warc-record-id": f"<urn:uuid:{uuid5(NAMESPACE_URL, f'arc:{name}#{at}')}>",
        "warc-target-uri": b" ".join(words[: place - 1]).decode("utf-8", "replace"),
        "warc-date": date,
        "content-type": "application/http; msgtype=response",
        "content-length": str(int(words[-1])),
    }


class _Text:
    """The text of a file, taken line by line or by size. at: what was taken; cut: it broke off by damage."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.at = 0
        self.cut = False
        self._chunks = chunks
        self._rest = bytearray()

    def line(self) -> bytes:
        """The next line with its end, or as much of it as a head may have; b"" at the end."""
        searched = 0
        while (end := self._rest.find(b"\n", searched) + 1) == 0 and len(self._rest) < HEAD_BYTES:
            searched = len(self._rest)
            if not self._fill():
                break
        return bytes(self._cut_off(end or HEAD_BYTES))

    def take(self, size: int, *, keep: bool) -> bytes | None:
        """The next bytes, or what is left of them; None, with no memory of them, unless they are kept."""
        if keep:
            while len(self._rest) < size and self._fill():
                pass
            return bytes(self._cut_off(size))
        while size:
            if not self._rest and not self._fill():
                break
            size -= len(self._cut_off(min(size, len(self._rest))))
        return None

    def _cut_off(self, size: int) -> bytearray:
        taken = self._rest[:size]
        del self._rest[:size]
        self.at += len(taken)
        return taken

    def _fill(self) -> bool:
        try:
            chunk = next(self._chunks, b"")
        except (OSError, Unreadable):
            self.cut, chunk = True, b""
        self._rest += chunk
        return bool(chunk)
