"""HTTP responses as WARC records hold them: head and body parsed, and the body's codings undone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataprep.warc.content_encoding import BadEncoding, decoder

_BLANK = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"\s*([0-9a-fA-F]{1,8})[^\r\n]*\r?\n")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?\s+(\d{3})")


class TooLarge(Exception):
    """A body decodes to more than its limit."""


@dataclass(frozen=True)
class HttpResponse:
    """A response as it was received; header names in lower case, of repeated headers the last."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The Content-Type header with its parameters."""
        return self.headers.get("content-type", "")

    def page(self, limit: int) -> bytes:
        """The body without transfer and content codings. Raises TooLarge and BadEncoding.

        Archives often undo a coding and leave its header: a body that does not begin as it says is taken as
        it stands. One that breaks off gives what came, as in a browser.
        """
        body = self.body
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            body = dechunked(body)
        codings = [name.strip() for name in self.headers.get("content-encoding", "").split(",")]
        for coding in reversed(codings):
            body = _decoded(body, coding, limit)
        if len(body) > limit:
            raise TooLarge
        return body


def parse(block: bytes) -> HttpResponse:
    """The response in a record's block; what has no status line is all body, with status 0."""
    found = _STATUS.match(block)
    if not found:
        return HttpResponse(0, {}, block)
    blank = _BLANK.search(block)
    head, body = (block[: blank.start()], block[blank.end() :]) if blank else (block, b"")
    headers = {}
    for line in head.decode("utf-8", "replace").splitlines()[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return HttpResponse(int(found[1]), headers, body)


def dechunked(body: bytes) -> bytes:
    """A body without the chunked coding (RFC 9112, section 7.1); as it stands where it is not chunked.

    >>> dechunked(b"3\\r\\nabc\\r\\n2;x=1\\r\\nde\\r\\n0\\r\\n\\r\\n"), dechunked(b"plain")
    (b'abcde', b'plain')
    """
    parts = []
    at = 0
    while found := _CHUNK.match(body, at):
        size = int(found[1], 16)
        at = found.end() + size
        parts.append(body[found.end() : at])
        if not size:
            break
    return b"".join(parts) if parts else body


def _decoded(body: bytes, coding: str, limit: int) -> bytes:
    stream = decoder(coding)
    pieces, size = [], 0
    try:
        for piece in stream.decode(body):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise TooLarge
    except BadEncoding:
        if not size:
            return body
    return b"".join(pieces)
