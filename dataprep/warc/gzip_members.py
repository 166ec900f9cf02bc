"""Gzip members (RFC 1952) for WARC records: text is deflated, what is deflated already is stored as it is."""

from __future__ import annotations

import struct

from isal import isal_zlib

COMPRESSION = 2
"""isal's level: five times as fast as gzip -9 for a sixth more bytes, so that the network stays the limit."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, unknown system
_STORED_BYTES = 0xFFFF  # the largest stored block (RFC 1951, section 3.2.4)
_LAST = 1


def deflated(data: bytes) -> bytes:
    """A member whose content is deflated."""
    return bytes(isal_zlib.compress(data, COMPRESSION, 31))


def partly_stored(text: bytes, encoded: bytes, end: bytes) -> bytes:
    """A member with `text` deflated, and `encoded` and `end` (at most _STORED_BYTES) stored after it.

    For bodies that came gzipped: deflating them again takes time and gains nothing.
    """
    deflate = isal_zlib.compressobj(COMPRESSION, isal_zlib.DEFLATED, -15)
    parts = [_HEADER, deflate.compress(text), deflate.flush(isal_zlib.Z_SYNC_FLUSH)]  # ends on a whole byte
    for at in range(0, len(encoded), _STORED_BYTES):
        parts += _stored(encoded[at : at + _STORED_BYTES])
    parts += _stored(end, _LAST)
    checksum = isal_zlib.crc32(end, isal_zlib.crc32(encoded, isal_zlib.crc32(text)))
    parts.append(struct.pack("<II", checksum, (len(text) + len(encoded) + len(end)) & 0xFFFFFFFF))
    return b"".join(parts)


def _stored(block: bytes, flag: int = 0) -> tuple[bytes, bytes]:
    """The head of a stored block, and the block."""
    return struct.pack("<BHH", flag, len(block), len(block) ^ 0xFFFF), block
