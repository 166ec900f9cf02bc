"""HTTP responses as browsers read them: the head parsed leniently, and the body's codings undone.

The head of a response out of a WARC file is always read like this, one off the wire where aiohttp's parser
refuses it. Both get the same reading, so that a page is extracted as it was fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dataprep.warc.content_encoding import decoded

HEAD_BYTES = 256 << 10
"""Largest status line and headers together; Chromium's limit."""

_BLANK = re.compile(rb"\r{0,2}\n\r{0,2}\n")
_LINE_END = re.compile(rb"\r{0,2}\n")
_STATUS = re.compile(
    rb"\s*HTTP(?:/(\d{1,9})(?:\.(\d{1,9}))?)?\s+(\d{3})(?!\d)[ \t]*([^\r\n]*)", re.IGNORECASE
)
_TYPE = re.compile(r"^(?:content-type:)?[\s;=\"']*([\w.+-]+)\s*/\s*([\w.+-]+)", re.IGNORECASE)
_QUOTED_PARAMETER = re.compile(r';[^;,"=]*="[^"]*"')
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\r*\n")
_CHUNK_CUT = re.compile(rb"[ \t]*[0-9a-fA-F]{0,16}[ \t]*(?:;[^\r\n]*)?\r*")
_CHUNK_END = re.compile(rb"\r*\n")
_TRAILERS = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r*\n)*[\r\n]*")


class BadHead(ValueError):
    """What is no head of a response, or one that is not clear about its body."""


@dataclass(frozen=True)
class Head:
    """A status line and headers, in order, names and values without the space around them.

    version: (major, minor).
    """

    version: tuple[int, int]
    status: int
    reason: bytes
    headers: tuple[tuple[bytes, bytes], ...]

    def values(self, name: bytes) -> list[bytes]:
        """The values of all headers of a name (in lower case)."""
        return [value for other, value in self.headers if other.lower() == name]

    @property
    def chunked(self) -> bool:
        """Whether the body is chunked; then a Content-Length is void (RFC 9112, section 6.3)."""
        return self._transfer_codings[-1:] == [b"chunked"]

    @property
    def length(self) -> int | None:
        """Bytes of the body, None where it lasts until the connection closes.

        Raises BadHead for lengths that differ or are no numbers: who guesses there can be made to take one
        body for another.
        """
        if self._transfer_codings:
            return None
        items = {item for item in _items(self.values(b"content-length")) if item}
        if (
            not all(item.isdigit() and len(item) < 20 for item in items)
            or len({int(item) for item in items}) > 1
        ):
            raise BadHead(f"Content-Length {b', '.join(sorted(items))[:80]!r}")
        return int(items.pop()) if items else None

    @property
    def _transfer_codings(self) -> list[bytes]:
        items = _items(self.values(b"transfer-encoding"))
        return [item.lower() for item in items if item and item.lower() != b"identity"]


def parse_head(data: bytes) -> Head:
    """The head of a response, as browsers read it; data: up to the empty line that ends it.

    A space before the colon or in a name is no matter; a line without colon or name, and what is folded onto
    it, is passed over. Raises BadHead where there is no status line.
    """
    found = _STATUS.match(data)
    if not found:
        raise BadHead("no status line")
    headers = list[tuple[bytes, list[bytes]]]()
    folds = False  # whether the last line was a header, which the next may continue
    for line in _LINE_END.split(data[found.end() :])[1:]:
        if line[:1] in (b" ", b"\t"):
            if folds:
                headers[-1][1].append(line.strip())
            continue
        name, colon, value = line.partition(b":")
        folds = bool(colon and name.strip())
        if folds:
            headers.append((name.strip(), [value.strip().replace(b"\r", b" ")]))
    version, reason = (int(found[1] or 1), int(found[2] or 0)), found[4].strip()
    joined = tuple((name, b" ".join(values)) for name, values in headers)
    return Head(version, int(found[3]), reason, joined)


def head_end(data: bytes, start: int = 0) -> int:
    """Where the body begins behind the head that stands at `start`; -1 if the head has no end."""
    blank = _BLANK.search(data, start, start + HEAD_BYTES)
    return blank.end() if blank else -1


def media_type(content_type: str) -> str:
    """The media type of a Content-Type header, or of several as one list, in lower case; "" if there is none.

    The last type counts, but for `*/*` (fetch.spec.whatwg.org, extract a MIME type). A comma in a quoted
    parameter separates nothing.

    >>> media_type("Text/HTML charset=utf-8"), media_type('"text/html", */*'), media_type("charset=utf-8")
    ('text/html', 'text/html', '')
    >>> media_type('text/html; profile="http://a.test/x, image/png"')
    'text/html'
    """
    types = [
        f"{found[1]}/{found[2]}".lower()
        for item in _QUOTED_PARAMETER.sub("", content_type).split(",")
        if (found := _TYPE.match(item.strip()))
    ]
    return types[-1] if types else ""


@dataclass(frozen=True)
class HttpResponse:
    """A response as it was received; `fields` are its headers in order."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The values of a header (name in lower case) as the one list that they are; "" if there is none."""
        return ", ".join(value for other, value in self.fields if other.lower() == name)

    @property
    def content_type(self) -> str:
        """The Content-Type header with its parameters."""
        return self.header("content-type")

    def page(self, limit: int) -> bytes:
        """The body without transfer and content codings. Raises TooLarge and BadEncoding.

        Archives often undo a coding and leave its header: a body that does not have it is taken as it stands.
        One that breaks off gives what came, as in a browser.
        """
        chunked = "chunked" in self.header("transfer-encoding").lower()
        body = dechunked(self.body) if chunked else self.body
        return b"".join(decoded(body, self.header("content-encoding"), limit))


def parse(block: bytes) -> HttpResponse:
    """The response in a record's block; what has no status line is all body, with status 0."""
    start = len(block) - len(block.lstrip(b"\r\n"))
    end = head_end(block, start)
    if end < 0:  # the block is a head that was cut, or too long for one
        end = len(block) if len(block) < HEAD_BYTES else start
    try:
        head = parse_head(block[start:end])
    except BadHead:
        return HttpResponse(0, (), block)
    fields = tuple(
        (name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in head.headers
    )
    return HttpResponse(head.status, fields, block[end:])


def dechunked(body: bytes) -> bytes:
    """A body without the chunked coding (RFC 9112, section 7.1); as it stands where it is not chunked.

    An archive may have undone the coding and left its header. So each line of a size must be one, and the
    body must end in the last chunk, or have been cut.

    >>> dechunked(b"3\\r\\nabc\\r\\n2;x=1\\r\\nde\\r\\n0\\r\\n\\r\\n"), dechunked(b"plain")
    (b'abcde', b'plain')
    >>> dechunked(b"5\\r\\nabcde\\r\\n9\\r\\nfg"), dechunked(b"Abstract of\\r\\nthe report")
    (b'abcdefg', b'Abstract of\\r\\nthe report')
    """
    parts = list[bytes]()
    at = 0
    while found := _CHUNK.match(body, at):
        size = int(found[1], 16)
        if not size:
            last = found.end()
            return b"".join(parts) if parts or _TRAILERS.fullmatch(body, last) else body
        parts.append(body[found.end() : found.end() + size])
        at = found.end() + size
        if at >= len(body):
            return b"".join(parts)
        end = _CHUNK_END.match(body, at)
        if not end:
            return b"".join(parts) if not body[at:].strip(b"\r") else body
        at = end.end()
    cut = parts and _CHUNK_CUT.fullmatch(body, at)
    return b"".join(parts) if cut else body


def _items(values: list[bytes]) -> list[bytes]:
    return [item.strip(b' \t"') for value in values for item in value.split(b",")]
