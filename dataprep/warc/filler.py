"""WARC records of no content, and of exactly as many bytes as the record that stood there.

So the offsets of all other records stand, and every reader goes on past them. A filler is a metadata record
(WARC 1.1, section 6.6) that names no URL. In a gzipped file it is a member of its own: its block lies in
stored deflate blocks (RFC 1951, section 3.2.4), whose length can be chosen to the byte, and the few bytes
that remain are a comment in the member's head (RFC 1952, section 2.3.1).
"""

from __future__ import annotations

import os
import shutil
import struct
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import xxhash
from isal import isal_zlib

from dataprep.errors import DataError

_END = b"\r\n\r\n"
_STORED_BYTES = 0xFFFF
_COMMENT = 1 << 4
_EPOCH = datetime.fromtimestamp(0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def filled(path: Path, spans: list[tuple[int, int]], copy: Path) -> None:
    """Write a copy of a WARC file with fillers in the place of some records; same length, same offsets."""
    shutil.copyfile(path, copy)
    with copy.open("rb+") as file:
        for offset, length in spans:
            file.seek(offset)
            compressed = file.read(2) == b"\x1f\x8b"
            identity = xxhash.xxh3_128_digest(f"{path.name}:{offset}".encode())
            file.seek(offset)
            file.write((member if compressed else plain)(length, identity))
        file.flush()
        os.fsync(file.fileno())


def member(length: int, identity: bytes) -> bytes:
    """A gzip member of `length` bytes that holds a filler; identity: 16 bytes that no other record has.

    Raises DataError when so few bytes hold no record (under about 190, less than any record with a URL).
    """
    size = length - len(_gzipped(0, identity, b""))
    while size >= 0:
        spare = length - len(_gzipped(size, identity, b""))
        if spare >= 0:
            return _gzipped(size, identity, b" " * (spare - 1) + b"\0" if spare else b"")
        size += spare
    raise DataError(f"a record of {length} bytes is too short to be replaced")


def plain(length: int, identity: bytes) -> bytes:
    """An uncompressed filler of `length` bytes; raises DataError when they are too few."""
    for size in range(length, -1, -1):
        text = _head(size, identity) + b" " * size + _END
        if len(text) <= length:
            return text + b"\r\n" * ((length - len(text)) // 2) + b"\n" * ((length - len(text)) % 2)
    raise DataError(f"a record of {length} bytes is too short to be replaced")


def _head(size: int, identity: bytes) -> bytes:
    lines = (
        "WARC/1.1",
        "WARC-Type: metadata",
        f"WARC-Record-ID: <urn:uuid:{UUID(bytes=identity)}>",
        f"WARC-Date: {_EPOCH}",
        "Content-Type: text/plain",
        f"Content-Length: {size}",
    )
    return "\r\n".join(lines).encode() + _END


def _gzipped(size: int, identity: bytes, comment: bytes) -> bytes:
    """The member of a filler whose block has `size` bytes; comment: with its closing zero, or empty."""
    deflate = isal_zlib.compressobj(isal_zlib.ISAL_BEST_COMPRESSION, isal_zlib.DEFLATED, -15)
    head, block = _head(size, identity), b" " * size + _END
    flags = _COMMENT if comment else 0
    parts = [struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, flags, 0, 0, 0xFF), comment]
    parts += [deflate.compress(head), deflate.flush(isal_zlib.Z_SYNC_FLUSH)]
    for at in range(0, len(block), _STORED_BYTES):
        piece = block[at : at + _STORED_BYTES]
        last = at + _STORED_BYTES >= len(block)
        parts += [struct.pack("<BHH", last, len(piece), len(piece) ^ 0xFFFF), piece]
    checksum = isal_zlib.crc32(block, isal_zlib.crc32(head))
    parts.append(struct.pack("<II", checksum, (len(head) + len(block)) & 0xFFFFFFFF))
    return b"".join(parts)
