"""Exchanges as WARC 1.1 records (ISO 28500:2017), each a gzip member of its own.

The body of a response is archived as it was received, Content-Encoding and all. Only the chunked transfer
coding is gone, because the HTTP client takes it off; its header is kept under another name, as Common Crawl
does, or readers would look for chunks that are not there. A head that had to be read leniently is archived in
the bytes that were received; others are written anew from their headers.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from isal import isal_zlib
from isal.igzip_lib import IsalError

from dataprep.crawl.client import Exchange
from dataprep.errors import DataError
from dataprep.warc.content_encoding import codings
from dataprep.warc.gzip_members import deflated, partly_stored

_CONTENT_TYPES = {
    "warcinfo": "application/warc-fields",
    "request": "application/http; msgtype=request",
    "response": "application/http; msgtype=response",
    "revisit": "application/http; msgtype=response",
    "metadata": "application/warc-fields",
}
HEAD_BYTES = 1 << 16
"""More than a record's own header ever takes; URLs are the longest that stands in it."""
REFERRED = {
    "record_id": "WARC-Record-ID",
    "url": "WARC-Target-URI",
    "date": "WARC-Date",
    "digest": "WARC-Payload-Digest",
}
"""The header of a response record that holds each field of a Reference."""

_END = b"\r\n\r\n"
_TRANSFER_ENCODING = re.compile(rb"^transfer-encoding(?=[ \t]*:)", re.IGNORECASE | re.MULTILINE)
_RENAMED = b"X-Crawler-Transfer-Encoding"


@dataclass(frozen=True, kw_only=True)
class Records:
    """Gzip members to append to a WARC file, and where in them the last response lies (in bytes)."""

    members: bytes
    response_offset: int
    response_length: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """How a revisit record names the response record that holds its payload."""

    record_id: str
    url: str
    date: str
    digest: str


def warcinfo(file_name: str, user_agent: str) -> bytes:
    """The record that opens a file: what wrote it and under which rules."""
    about = {
        "software": "outbound",
        "format": "WARC File Format 1.1",
        "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
        "robots": "obey",
        "http-header-user-agent": user_agent,
    }
    return _record("warcinfo", "", _date(datetime.now(UTC)), {"WARC-Filename": file_name}, _fields(about))


def records(
    exchanges: list[Exchange], original: str = "", digest: str = "", stored: Reference | None = None
) -> Records:
    """Request, response and metadata of each exchange, in order; there must be at least one.

    original: the page of which these are an archive's copies; noted in the metadata.
    digest: of the last exchange's body, where that is known.
    stored: the record that holds the last exchange's payload already; then it becomes a revisit of that.
    """
    members = bytearray()
    offset = length = 0
    for hop, exchange in enumerate(exchanges):
        fields = {
            "fetchTimeMs": str(round(exchange.seconds * 1000)),
            "hopsFromSeed": "R" * hop,
            "via": exchanges[hop - 1].url if hop else "",
            "originalUri": original,
        }
        last = hop == len(exchanges) - 1
        request, response, metadata = _exchange_records(
            exchange, fields, digest=digest if last else "", stored=stored if last else None
        )
        members += request
        offset = len(members)
        members += response
        length = len(members) - offset
        members += metadata
    return Records(members=bytes(members), response_offset=offset, response_length=length)


def reference(warc: Path, offset: int) -> Reference:
    """What a revisit says of the response record at an offset of a WARC file.

    Raises DataError when no such record stands there.
    """
    member = isal_zlib.decompressobj(wbits=31)
    try:
        with warc.open("rb") as file:
            file.seek(offset)
            head = member.decompress(file.read(HEAD_BYTES), HEAD_BYTES)
        lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        named = dict(line.split(": ", 1) for line in lines)
        return Reference(**{field: named[header] for field, header in REFERRED.items()})
    except (OSError, ValueError, KeyError, IsalError) as error:  # type: ignore[misc]  # stub: an instance
        raise DataError(f"{warc}: no response record at byte {offset}: {error!r}") from None


def payload_digest(body: bytes) -> str:
    """SHA-1 of a body as it was received, in base 32."""
    return _digest(body)


def _exchange_records(
    exchange: Exchange, fields: dict[str, str], *, digest: str, stored: Reference | None
) -> tuple[bytes, bytes, bytes]:
    """Request, response (or revisit) and metadata; `fields` stand in the metadata, if they say anything."""
    url, date = exchange.url, _date(exchange.started)
    response_id = _record_id()
    head = _TRANSFER_ENCODING.sub(_RENAMED, exchange.odd_head) or _http_head(
        f"{exchange.http_version} {exchange.status} {exchange.reason}",
        [(_archived_name(name), value) for name, value in exchange.headers],
    )
    if stored:
        profile = "server-not-modified" if exchange.status == 304 else "identical-payload-digest"
        referring = {
            "WARC-Record-ID": response_id,
            "WARC-Profile": f"http://netpreserve.org/warc/1.1/revisit/{profile}",
            "WARC-Payload-Digest": stored.digest,
            "WARC-Refers-To": stored.record_id,
            "WARC-Refers-To-Target-URI": stored.url,
            "WARC-Refers-To-Date": stored.date,
        }
        response = _record("revisit", url, date, referring, head)
    else:
        named = {
            "WARC-Record-ID": response_id,
            "WARC-Payload-Digest": digest or _digest(exchange.body),
            "WARC-Truncated": "length" if exchange.truncated else "",
        }
        encoded = bool(codings(exchange.content_encoding))
        response = _record("response", url, date, named, head, exchange.body, encoded=encoded)
    beside = {"WARC-Concurrent-To": response_id}
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    request = _record(
        "request", url, date, beside, _http_head(f"GET {path} HTTP/1.1", exchange.request_headers)
    )
    return request, response, _record("metadata", url, date, beside, _fields(fields))


def _archived_name(name: bytes) -> bytes:
    return _RENAMED if name.strip().lower() == b"transfer-encoding" else name


def _http_head(start: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A start line and headers in the bytes that were on the wire."""
    lines = [start.encode("utf-8", "surrogateescape"), *[b"%b: %b" % header for header in headers], b"", b""]
    return b"\r\n".join(lines)


def _fields(fields: dict[str, str]) -> bytes:
    """`application/warc-fields`: a name and a value on each line, but for values that say nothing."""
    return "".join([f"{name}: {value}\r\n" for name, value in fields.items() if value]).encode()


def _record(
    kind: str,
    url: str,
    date: str,
    fields: dict[str, str],
    head: bytes,
    payload: bytes = b"",
    *,
    encoded: bool = False,
) -> bytes:
    """A record, compressed; its block is `head` and `payload`, which may have come compressed (`encoded`).

    Written out here: built from warcio's objects, a page's records cost as much as fetching it.
    """
    named = {
        "WARC-Type": kind,
        "WARC-Record-ID": fields.get("WARC-Record-ID") or _record_id(),
        "WARC-Target-URI": url,
        "WARC-Date": date,
        **fields,
        "Content-Type": _CONTENT_TYPES[kind],
        "Content-Length": str(len(head) + len(payload)),
    }
    text = b"".join([b"WARC/1.1\r\n", _fields(named), b"\r\n", head])
    return partly_stored(text, payload, _END) if encoded else deflated(b"".join([text, payload, _END]))


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _record_id() -> str:
    return f"<urn:uuid:{uuid4()}>"


def _digest(payload: bytes) -> str:
    """SHA-1 in base 32: the digest that archives index and compare payloads by.

    Blocks get none: the checksum of the gzip member tells whether a record is as it was written.
    """
    return f"sha1:{b32encode(sha1(payload, usedforsecurity=False).digest()).decode()}"
