"""Content-Encoding undone in bounded pieces, so that a decompression bomb is counted and never held.

Only gzip and deflate are asked for (`ACCEPT_ENCODING`): every server that compresses knows them, and every
WARC reader can undo them without further packages. An answer in any other encoding was not asked for and is
refused unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from isal import isal_zlib
from isal.igzip_lib import IsalError

ACCEPT_ENCODING = "gzip, deflate"
PIECE_BYTES = 1 << 16


class BadEncoding(Exception):
    """A body that does not decode as its Content-Encoding says."""


class Decoder(Protocol):
    """Undoes an encoding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to in pieces of at most PIECE_BYTES; raises BadEncoding."""
        ...

    def finish(self) -> None:
        """Raise BadEncoding if the body broke off in the middle of the encoding."""
        ...


def decoder(content_encoding: str) -> Decoder:
    """The decoder for a Content-Encoding header; raises BadEncoding for what was not asked for."""
    match content_encoding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip":
            return Inflater(gzip=True)
        case "deflate":
            return Inflater(gzip=False)
        case other:
            raise BadEncoding(f"Content-Encoding {other[:40]!r} was not asked for")


class Identity:
    """No encoding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


class Inflater:
    """gzip (RFC 1952) or deflate; the latter with or without its zlib wrapper, as servers send both."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._stream = isal_zlib.decompressobj(wbits=31) if gzip else None
        self._started = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        self._started = True
        if self._stream is None:
            # RFC 1950, section 2.2: the compression method; no compressor starts a raw block with it.
            zlib_wrapped = data[0] & 0x0F == 8
            self._stream = isal_zlib.decompressobj(wbits=15 if zlib_wrapped else -15)
        try:
            piece = b""
            # A full piece may have left output behind even when all input is consumed.
            while (data or len(piece) == PIECE_BYTES) and not self._stream.eof:
                piece = self._stream.decompress(data, PIECE_BYTES)
                data = self._stream.unconsumed_tail
                yield piece
        except IsalError as error:  # type: ignore[misc]  # its stub calls the class an instance
            raise BadEncoding(f"broken {'gzip' if self._gzip else 'deflate'} stream: {error}") from None

    def finish(self) -> None:
        if self._started and not (self._stream and self._stream.eof):
            raise BadEncoding(f"{'gzip' if self._gzip else 'deflate'} stream breaks off")
