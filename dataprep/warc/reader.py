"""WARC files of any maker, read record by record, and past their damage.

Files come plain, as gzip with a member for each record (what the standard asks for, and what can be read by
offset), or as one long gzip stream. What cannot be read is a `Gap` with a reason; reading goes on at the next
gzip member that holds a record, or in a plain file at the next line that begins one, so that damage costs the
records that it touches and no other. Only in one long gzip stream does it cost all that follows in it.

A record counts as whole when its Content-Length fills its member, or ends where the next record begins, and
the member's checksum is right. Where no checksum seals it alone (plain files, long streams) its block digest,
or else its payload digest, decides, if it has one that we can compute.

Memory: one record of at most `limit` bytes; the file is mapped, not read.
"""

from __future__ import annotations

import mmap
import re
from base64 import b32encode
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from hashlib import new as new_hash
from pathlib import Path

from isal import isal_zlib
from isal.igzip_lib import IsalError

from dataprep.errors import DataError
from dataprep.store.checksummed_json import RESTORE
from dataprep.warc.http_response import HttpResponse, dechunked, parse

RECORD_BYTES = 64 << 20
"""Largest record that is held; a larger one (a video, a disk image) is a gap."""
HEAD_BYTES = 1 << 18
"""A record whose own header is longer than this is none."""
PIECE_BYTES = 1 << 16
"""What is inflated at once, and in a damaged stream lost before the damage."""
NO_RECORD = "holds no WARC record, plain or gzipped"

_MAGIC = b"\x1f\x8b\x08"
_START = re.compile(rb"WARC/\d\.\d+\r?\n")
_NEXT = re.compile(rb"WARC/\d\.\d+\r?\n[A-Za-z-]+:")
_BLANK = re.compile(rb"\r?\n\r?\n")
_LINE_ENDS = re.compile(rb"[\r\n]*")
_DIGESTS = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""Digests that are computed, with their bytes."""

Buffer = bytes | mmap.mmap


@dataclass(frozen=True)
class WarcRecord:
    """A whole record. `offset` and `length` (bytes of the file) are those of its gzip member, if it has one.

    fields: its named fields, names in lower case. alone: `record_in` can read it by its offset and length.
    """

    offset: int
    length: int
    fields: dict[str, str]
    block: bytes
    alone: bool = True

    @property
    def kind(self) -> str:
        """`response`, `warcinfo`, `conversion` (WET) ..."""
        return self.fields.get("warc-type", "")

    @property
    def url(self) -> str:
        """The WARC-Target-URI; some writers put it in angle brackets, as WARC 1.0's grammar had it."""
        return self.fields.get("warc-target-uri", "").strip("<>")

    @property
    def date(self) -> str:
        """The time of capture (ISO 8601, UTC)."""
        return self.fields.get("warc-date", "")


@dataclass(frozen=True)
class Gap:
    """Bytes of the file that gave no record: `damaged_record`, `truncated` (to the end) or `too_large`."""

    offset: int
    length: int
    reason: str


class NoRecord(DataError):
    """A file holds no whole record at all."""


class Damaged(Exception):
    """No whole record stands there; the argument is a Gap's reason."""


def read_warc(path: Path, limit: int = RECORD_BYTES) -> Iterator[WarcRecord | Gap]:
    """Every record of a file in its order, and every gap between them.

    Raises DataError when the file cannot be read, and NoRecord at the end of one that holds no record at all.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {RESTORE}") from None
    with file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = False
            for piece in _records(data, limit):
                found = found or isinstance(piece, WarcRecord) or piece.reason == "too_large"
                yield piece
            if not found:
                raise NoRecord(f"{path}: {NO_RECORD}; {RESTORE}, or remove it")


def record_in(data: bytes, offset: int = 0) -> WarcRecord:
    """The record that `data`, read from a WARC file at `offset`, holds as a whole and alone.

    Raises Damaged where it is not exactly one whole record.
    """
    pieces = list(_records(data, max(RECORD_BYTES, len(data))))
    if len(pieces) != 1 or not isinstance(pieces[0], WarcRecord):
        raise Damaged("damaged_record")
    return WarcRecord(offset, len(data), pieces[0].fields, pieces[0].block)


def response_of(record: WarcRecord) -> HttpResponse:
    """The HTTP response of a response record; a resource record (no headers) as the response it had been."""
    if record.kind == "resource":
        return HttpResponse(200, (("content-type", record.fields.get("content-type", "")),), record.block)
    return parse(record.block)


def _records(data: Buffer, limit: int) -> Iterator[WarcRecord | Gap]:
    """The records of a mapped file; one whose beginning is damaged is what its first whole record is."""
    if _START.match(data):
        return _plain(data, limit)
    if data[:3] == _MAGIC:
        return _gzipped(data, limit)
    member, line = _next_member(data, 0), _NEXT.search(data)
    return (
        _plain(data, limit) if member is None or (line and line.start() < member) else _gzipped(data, limit)
    )


def _gzipped(data: Buffer, limit: int) -> Iterator[WarcRecord | Gap]:
    at = 0
    while at < len(data):
        try:
            at = yield from _member(data, at, limit)
        except Damaged as reason:
            following = _next_member(data, at + 1)
            yield Gap(
                at, (following or len(data)) - at, str(reason) if following is None else "damaged_record"
            )
            at = len(data) if following is None else following


def _member(data: Buffer, start: int, limit: int) -> Generator[WarcRecord | Gap, None, int]:
    """The records of the gzip member at `start`; returns where it ends. Raises Damaged.

    A record is given only when the next one begins, or the member has ended with the right checksum.
    """
    stream = _Inflated(data, start)
    pending: tuple[dict[str, str], bytes | None] | None = None
    several = False
    while stream.more():
        if pending:
            several = True
            yield _given(start, stream.at - start, *pending, alone=False, sealed=False)
        fields = _fields(stream.head())
        size = _size(fields)
        if size > limit:
            stream.skip(size)
        pending = fields, stream.take(size) if size <= limit else None
    if pending:
        yield _given(start, stream.at - start, *pending, alone=not several, sealed=True)
    return stream.at


def _next_member(data: Buffer, at: int) -> int | None:
    """Where the next gzip member begins that holds a record."""
    while (at := data.find(_MAGIC, at)) >= 0:
        try:
            if _START.match(isal_zlib.decompressobj(31).decompress(data[at : at + 4096], 64).lstrip()):
                return at
        except IsalError:  # type: ignore[misc]  # its stub calls the class an instance
            pass
        at += 1
    return None


class _Inflated:
    """The content of a gzip member, inflated as it is asked for. Every method raises Damaged.

    `at` is how far the file was read: where the member ends, when it has ended.
    """

    def __init__(self, data: Buffer, start: int) -> None:
        self.at = start
        self._data = data
        self._inflate = isal_zlib.decompressobj(31)
        self._text = bytearray()

    def more(self) -> bool:
        """Whether anything but line ends is left; passes over those."""
        while True:
            del self._text[: _past_line_ends(self._text, 0)]
            if self._text or not self._fill():
                return bool(self._text)

    def head(self) -> bytes:
        """All up to the next empty line."""
        while not (found := _BLANK.search(self._text)):
            if len(self._text) > HEAD_BYTES or not self._fill():
                raise Damaged("damaged_record")
        head = bytes(self._text[: found.start()])
        del self._text[: found.end()]
        return head

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._text) < size:
            if not self._fill():
                raise Damaged("damaged_record")
        taken = bytes(self._text[:size])
        del self._text[:size]
        return taken

    def skip(self, size: int) -> None:
        """Pass over the next `size` bytes."""
        while len(self._text) < size:
            size -= len(self._text)
            self._text.clear()
            if not self._fill():
                raise Damaged("damaged_record")
        del self._text[:size]

    def _fill(self) -> bool:
        """Inflate some more; False when the member has ended, and its checksum was right."""
        if self._inflate.eof:
            return False
        tail = self._inflate.unconsumed_tail
        piece = tail or self._data[self.at : self.at + PIECE_BYTES]
        try:
            inflated = self._inflate.decompress(piece, PIECE_BYTES)
        except IsalError:  # type: ignore[misc]  # its stub calls the class an instance
            raise Damaged("damaged_record") from None
        if not tail:
            self.at += len(piece)
        if self._inflate.eof:
            self.at -= len(self._inflate.unused_data)
        elif not inflated and not piece:
            raise Damaged("truncated")
        self._text += inflated
        return True


def _plain(data: Buffer, limit: int) -> Iterator[WarcRecord | Gap]:
    at = 0
    while at < len(data):
        try:
            found = _plain_record(data, at, limit)
        except Damaged as reason:
            following = _NEXT.search(data, at + 1)
            end = following.start() if following else len(data)
            yield Gap(at, end - at, "damaged_record" if following else str(reason))
            at = end
        else:
            yield found
            at = _past_line_ends(data, at + found.length)


def _plain_record(data: Buffer, at: int, limit: int) -> WarcRecord | Gap:
    """The record that begins at `at`. Raises Damaged unless empty lines, another or the end follow."""
    blank = _BLANK.search(data, at, at + HEAD_BYTES)
    if not blank:
        raise Damaged(
            "truncated" if len(data) - at < HEAD_BYTES and _START.match(data, at) else "damaged_record"
        )
    fields = _fields(data[at : blank.start()])
    size = _size(fields)
    end = blank.end() + size
    if end > len(data):
        raise Damaged("truncated")
    after = _past_line_ends(data, end)
    if data[end : end + 4] != b"\r\n\r\n" and after < len(data) and not _START.match(data, after):
        raise Damaged("damaged_record")
    block = data[blank.end() : end] if size <= limit else None
    return _given(at, end - at, fields, block, alone=True, sealed=False)


def _past_line_ends(text: Buffer | bytearray, at: int) -> int:
    found = _LINE_ENDS.match(text, at)
    return found.end() if found else at


def _given(
    offset: int, length: int, fields: dict[str, str], block: bytes | None, *, alone: bool, sealed: bool
) -> WarcRecord | Gap:
    """What stands there, `block` being None for what is too large to hold."""
    if block is None:
        return Gap(offset, length, "too_large")
    if not sealed and not _digests_right(fields, block):
        return Gap(offset, length, "damaged_record")
    return WarcRecord(offset, length, fields, block, alone)


def _fields(head: bytes) -> dict[str, str]:
    """The named fields of a record's header, which may be folded over lines. Raises Damaged."""
    if not _START.match(head + b"\n") or b"\0" in head:
        raise Damaged("damaged_record")
    fields: dict[str, str] = {}
    name = ""
    for line in head.decode("utf-8", "replace").split("\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            fields[name] = f"{fields[name]} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise Damaged("damaged_record")
        name = name.strip().lower()
        fields[name] = value.strip()
    return fields


def _size(fields: dict[str, str]) -> int:
    """Bytes of the record's block. Raises Damaged."""
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdecimal()):
        raise Damaged("damaged_record")
    return int(length)


def _digests_right(fields: dict[str, str], block: bytes) -> bool:
    """Whether the block has its digest, or else the payload its own; True where neither can be computed.

    Writers differ in whether a payload's digest counts the chunked coding, so both ways pass.
    """
    if "warc-block-digest" in fields:
        return _has_digest(block, fields["warc-block-digest"])
    if "warc-payload-digest" not in fields or fields.get("warc-type") == "revisit":
        return True
    blank = _BLANK.search(block) if block.startswith(b"HTTP/") else None
    payload = block[blank.end() :] if blank else block
    digest = fields["warc-payload-digest"]
    return _has_digest(payload, digest) or _has_digest(dechunked(payload), digest)


def _has_digest(data: bytes, digest: str) -> bool:
    """Whether `ALGORITHM:VALUE`, in base 16 or 32, is the digest of the data; True if it is no known one."""
    name, _, value = digest.partition(":")
    name = name.lower().replace("-", "")
    if name not in _DIGESTS:
        return True
    right = new_hash(name, data, usedforsecurity=False)
    if len(value) == 2 * _DIGESTS[name]:
        return value.lower() == right.hexdigest()
    return value.rstrip("=").upper() == b32encode(right.digest()).decode().rstrip("=")
