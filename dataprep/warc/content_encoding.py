"""Content-Encoding undone in bounded pieces, so that a decompression bomb is counted and never held.

Only gzip and deflate are asked for (`ACCEPT_ENCODING`): every server that compresses knows them, and every
WARC reader can undo them without further packages. Brotli is undone where it comes all the same. As browsers
do, a list is read for the codings that it names and that the body has: words that are no coding, empty items
and a coding that the body does not begin with (a server or an archive has undone it, or never did it) are
passed over. Only bytes that are no text cannot be taken as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

import brotlicffi
from isal import isal_zlib
from isal.igzip_lib import IsalError

ACCEPT_ENCODING = "gzip, deflate"
PIECE_BYTES = 1 << 16
MAX_CODINGS = 5
"""Codings on one body, as in curl (CVE-2022-32206) and urllib3: each may unfold a bomb."""
MAX_MEMBERS = 10_000
"""Members of one gzip body; empty ones take time and count for nothing else."""
PROBE_BYTES = 1024
"""The beginning of a body, which shows whether it has its coding."""
TRIAL_PIECES = 4
"""Pieces that are decoded for that at most; a kilobyte of brotli may unfold to gigabytes."""

CODINGS = frozenset("gzip x-gzip deflate br".split())
"""What is undone."""
UNDOABLE = frozenset("aes128gcm compress x-compress dcb dcz exi pack200-gzip zstd".split())
"""The other codings of IANA's registry: no words to pass over, but nothing that was asked for."""

_GZIP = b"\x1f\x8b\x08"
_SLICE_BYTES = 1 << 12
_NO_TEXT = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""What no text holds (mimesniff.spec.whatwg.org, binary data byte)."""
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class BadEncoding(Exception):
    """A body that is neither in its Content-Encoding nor text, or that breaks in the middle of it."""


class TooLarge(Exception):
    """A body decodes to more than its limit."""


class Decoder:
    """Undoes the codings of a body, the last one first."""

    def __init__(self, codings: list[str], limit: int) -> None:
        self._stages = [_Stage(coding, limit) for coding in reversed(codings or [""])]

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to in pieces of at most PIECE_BYTES; raises BadEncoding and TooLarge."""
        return self._through(0, data)

    def finish(self) -> Iterator[bytes]:
        """Yield what was held back when no more data comes; raises as `decode` does."""
        for number, stage in enumerate(self._stages, start=1):
            for piece in stage.rest():
                yield from self._through(number, piece)

    @property
    def ended(self) -> bool:
        """Whether the body ended where its codings did; else it broke off."""
        return all(stage.ended for stage in self._stages)

    def _through(self, number: int, data: bytes) -> Iterator[bytes]:
        """What the stages from `number` on make of data."""
        if number == len(self._stages):
            yield data
            return
        for piece in self._stages[number].decode(data):
            yield from self._through(number + 1, piece)


def decoder(content_encoding: str, limit: int) -> Decoder:
    """The decoder for a Content-Encoding header; no coding may give more than `limit` bytes.

    Raises BadEncoding for more than MAX_CODINGS.
    """
    items = codings(content_encoding)
    if len(items) > MAX_CODINGS:
        raise BadEncoding(f"more than {MAX_CODINGS} codings: {content_encoding[:80]!r}")
    return Decoder(items, limit)


def decoded(body: bytes, content_encoding: str, limit: int) -> Iterator[bytes]:
    """The pieces of a whole body; one that breaks, or breaks off, gives what came, as in a browser.

    Raises TooLarge, and BadEncoding where the body is broken from its beginning.
    """
    decoding, came = decoder(content_encoding, limit), False
    try:
        for piece in chain(decoding.decode(body), decoding.finish()):
            came = came or bool(piece)
            yield piece
    except BadEncoding:
        if not came:
            raise


def codings(content_encoding: str) -> list[str]:
    """The codings in a header, or in the list that several are, in the order in which they were applied.

    >>> codings("GZIP, utf-8,, identity"), codings('"br"'), codings("UTF-8")
    (['gzip'], ['br'], [])
    """
    items = [item.strip(" \t\"'").lower() for item in content_encoding.split(",")]
    return [item for item in items if item in CODINGS | UNDOABLE]


class _Stage:
    """One coding, taken off where the body has it; pieces are counted against the limit."""

    def __init__(self, coding: str, limit: int) -> None:
        self.coding = coding
        self._left = limit
        self._held = b""
        self._stream: _Stream | None = None if coding else _Plain()

    @property
    def ended(self) -> bool:
        """Whether the body ended where its coding did."""
        return self._stream is None or self._stream.ended

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._held += data
            if len(self._held) < PROBE_BYTES:
                return
            data = self._begin(whole=False)
        yield from self._counted(data)

    def rest(self) -> Iterator[bytes]:
        """What was too short to be probed before its end."""
        if self._held:
            yield from self._counted(self._begin(whole=True))

    def _begin(self, *, whole: bool) -> bytes:
        """Choose how to go on; gives what was held back until then."""
        held, self._held = self._held, b""
        self._stream = _stream(self.coding, held[:PROBE_BYTES], whole=whole)
        return held

    def _counted(self, data: bytes) -> Iterator[bytes]:
        assert self._stream
        for piece in self._stream.decode(data):
            self._left -= len(piece)
            if self._left < 0:
                raise TooLarge
            yield piece


class _Stream(Protocol):
    """A body in the middle of one coding."""

    @property
    def ended(self) -> bool: ...

    def decode(self, data: bytes) -> Iterator[bytes]: ...


def _stream(coding: str, beginning: bytes, *, whole: bool) -> _Stream:
    """The stream that a body of this beginning is; whole: it is all of the body. Raises BadEncoding."""
    if coding in ("gzip", "x-gzip", "deflate") and beginning.startswith(_GZIP):
        return _Gzip()
    text = _is_text(beginning)
    for candidate in _CANDIDATES.get(coding, ()) if whole or not text else ():
        trial = candidate()
        try:
            for _ in islice(trial.decode(beginning), TRIAL_PIECES):
                pass
        except BadEncoding:
            continue
        if trial.ended or not text:
            return candidate()
    if not text:
        raise BadEncoding(f"the body is neither {coding} nor text")
    return _Plain()


def _is_text(beginning: bytes) -> bool:
    """Whether this is no compressed stream, of whose bytes a tenth are none of text."""
    return beginning.startswith(_UTF_16) or len(_NO_TEXT.findall(beginning)) * 50 <= len(beginning)


class _Plain:
    """A body that stands for itself."""

    ended = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Deflate:
    """deflate in its zlib wrapper (RFC 1950), as HTTP has it, or raw (RFC 1951), as some servers send it."""

    def __init__(self, wbits: int) -> None:
        self._stream = isal_zlib.decompressobj(wbits=wbits)

    @property
    def ended(self) -> bool:
        return bool(self._stream.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        return _inflated(self._stream, data)


class _Gzip:
    """gzip (RFC 1952): members one after the other; what follows them and is none is ignored."""

    def __init__(self) -> None:
        self._stream = isal_zlib.decompressobj(wbits=31)
        self._behind = b""
        self._members_begun = 1

    @property
    def ended(self) -> bool:
        return bool(self._stream.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        if not self._stream.eof:
            yield from _inflated(self._stream, data)
            data = self._stream.unused_data
        # in slices: each member copies what is behind it, and a body may be of empty members only
        for at in range(0, len(data) if self._stream.eof else 0, _SLICE_BYTES):
            yield from self._members(data[at : at + _SLICE_BYTES])

    def _members(self, data: bytes) -> Iterator[bytes]:
        """What a slice holds, whose beginning is behind a member or in the middle of one."""
        while data:
            if self._stream.eof:
                self._behind += data
                if not self._behind.startswith(_GZIP):
                    self._behind = self._behind[: len(_GZIP)]
                    return
                data, self._behind = self._behind, b""
                self._members_begun += 1
                if self._members_begun > MAX_MEMBERS:
                    raise BadEncoding(f"more than {MAX_MEMBERS} gzip members")
                self._stream = isal_zlib.decompressobj(wbits=31)
            yield from _inflated(self._stream, data)
            data = self._stream.unused_data


def _inflated(stream: Any, data: bytes) -> Iterator[bytes]:
    """What a stream of isal's makes of data, up to its end."""
    piece = b""
    try:
        # A full piece may have left output behind even when all input is consumed.
        while (data or len(piece) == PIECE_BYTES) and not stream.eof:
            piece = stream.decompress(data, PIECE_BYTES)
            data = stream.unconsumed_tail
            yield piece
    except IsalError as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise BadEncoding(f"broken gzip or deflate stream: {error}") from None


class _Brotli:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        self._stream = brotlicffi.Decompressor()

    @property
    def ended(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self.ended:
            return
        try:
            for at in range(0, len(data), _SLICE_BYTES):  # each call copies what it has not read yet
                piece = self._stream.decompress(data[at : at + _SLICE_BYTES], PIECE_BYTES)
                yield piece
                while len(piece) == PIECE_BYTES:
                    piece = self._stream.decompress(b"", PIECE_BYTES)
                    yield piece
        except brotlicffi.error as error:
            raise BadEncoding(f"broken br stream: {error}") from None


_CANDIDATES: dict[str, tuple[Callable[[], _Stream], ...]] = {
    "deflate": (partial(_Deflate, 15), partial(_Deflate, -15)),
    "br": (_Brotli,),
}
"""The streams to try for a coding. (gzip needs no trial: it has a magic number.)"""
