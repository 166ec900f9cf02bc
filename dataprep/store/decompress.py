"""Text out of compressed files: zstd (with a 2 GiB window), xz, bz2, gzip or plain, known by the first bytes.

Files of several streams joined are read through; what follows the last stream is an error, never ignored.
Memory: two chunks, and the decompressor's window (2.2 GB for a real `.zst` dump).
"""

from __future__ import annotations

import bz2
import lzma
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, cast

from backports import zstd
from isal import igzip_lib

CHUNK_BYTES = 1 << 17
"""Small enough that a chunk is still in the processor's cache when it is parsed."""


TOO_LONG = b"(too long) "
"""Stands for the beginning of a line that does not fit; it is no JSON, so the line counts as bad."""


class Decompressor(Protocol):
    """One compressed stream, as the standard library's decompressors read it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Unreadable(Exception):
    """A stream that is damaged or cut; says why, and about where in the file."""


def _zstd() -> Decompressor:
    window: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 31}
    return zstd.ZstdDecompressor(options=window)


def _gzip() -> Decompressor:
    return cast(Decompressor, igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


_SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))
_FORMATS: tuple[tuple[tuple[bytes, ...], Callable[[], Decompressor]], ...] = (
    ((b"\x28\xb5\x2f\xfd", *_SKIPPABLE), _zstd),
    ((b"\xfd7zXZ\x00",), lzma.LZMADecompressor),
    ((b"BZh",), bz2.BZ2Decompressor),
    ((b"\x1f\x8b",), _gzip),
)
_ERRORS = (OSError, EOFError, lzma.LZMAError, zstd.ZstdError, cast(type[Exception], igzip_lib.IsalError))


def decompressed(file: BinaryIO) -> Iterator[bytes]:
    """Yield the text of a file in chunks, without the byte order mark of UTF-8 that may begin it.

    Raises Unreadable after all that could be read.
    """
    chunks = _chunks(file)
    begin = b""
    for chunk in chunks:
        begin += chunk
        if len(begin) >= len(BOM_UTF8):
            break
    if begin := begin.removeprefix(BOM_UTF8):
        yield begin
    yield from chunks


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    data = file.read(CHUNK_BYTES)
    make = next((make for magics, make in _FORMATS if data.startswith(magics)), None)
    if make is None:
        while data:
            yield data
            data = file.read(CHUNK_BYTES)
        return
    stream = make()
    while True:
        try:
            text = stream.decompress(data, CHUNK_BYTES)
        except _ERRORS as error:
            raise Unreadable(f"damaged before byte {file.tell():,} of the file: {error}") from None
        if text:
            yield text
        data = b""
        if stream.eof:
            data = _next_stream(stream.unused_data, file)
            if not data:
                return
            stream = make()
        elif stream.needs_input:
            data = file.read(CHUNK_BYTES)
            if not data:
                raise Unreadable(f"cut at byte {file.tell():,} of the file, in the middle of its stream")


def lines(file: BinaryIO, longest_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a file without their ends; raises Unreadable after all that could be read.

    Of a line that is longer than allowed, what comes begins with TOO_LONG. Memory: the longest line.
    """
    rest: list[bytes] = []
    rest_bytes = 0
    stopped: Unreadable | None = None
    try:
        for chunk in decompressed(file):
            first, *others = chunk.split(b"\n")
            rest.append(first)
            rest_bytes += len(first)
            if rest_bytes > longest_bytes:
                rest, rest_bytes = [TOO_LONG], 0
            for line in others:
                yield b"".join(rest).removesuffix(b"\r")
                rest, rest_bytes = [line], len(line)
    except Unreadable as error:
        stopped = error
    if last := b"".join(rest).removesuffix(b"\r"):
        yield last
    if stopped:
        raise stopped


def _next_stream(data: bytes, file: BinaryIO) -> bytes:
    """What follows a stream, without the zeros that may pad xz and gzip files; nothing at the end."""
    while True:
        data = data.lstrip(b"\0")
        if data:
            return data
        data = file.read(CHUNK_BYTES)
        if not data:
            return b""
