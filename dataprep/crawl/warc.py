"""Exchanges as WARC 1.1 records (ISO 28500:2017), each a gzip member of its own.

The body of a response is archived as it was received, Content-Encoding and all. Only the chunked transfer
coding is gone, because the HTTP client takes it off; its header is kept under another name, as Common Crawl
does, or readers would look for chunks that are not there.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from urllib.parse import urlsplit
from uuid import uuid4

from dataprep.crawl.client import Exchange
from dataprep.crawl.members import deflated, partly_stored

_CONTENT_TYPES = {
    "warcinfo": "application/warc-fields",
    "request": "application/http; msgtype=request",
    "response": "application/http; msgtype=response",
    "metadata": "application/warc-fields",
}

_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Records:
    """Gzip members to append to a WARC file, and where in them the last response lies (in bytes)."""

    members: bytes
    response_offset: int
    response_length: int


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


def records(exchanges: list[Exchange], original: str = "") -> Records:
    """Request, response and metadata of each exchange, in order; there must be at least one.

    original: the page of which these are an archive's copies; noted in the metadata.
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
        request, response, metadata = _exchange_records(exchange, fields)
        members += request
        offset = len(members)
        members += response
        length = len(members) - offset
        members += metadata
    return Records(bytes(members), offset, length)


def _exchange_records(exchange: Exchange, fields: dict[str, str]) -> tuple[bytes, bytes, bytes]:
    """Request, response and metadata; `fields` stand in the metadata, but for those that say nothing."""
    url, date = exchange.url, _date(exchange.started)
    response_id = _record_id()
    response = _record(
        "response",
        url,
        date,
        {
            "WARC-Record-ID": response_id,
            "WARC-Payload-Digest": _digest(exchange.body),
            "WARC-Truncated": "length" if exchange.truncated else "",
        },
        _http_head(
            f"{exchange.http_version} {exchange.status} {exchange.reason}",
            [(_archived_name(name), value) for name, value in exchange.headers],
        ),
        exchange.body,
        encoded=exchange.header("content-encoding").lower() not in ("", "identity"),
    )
    beside = {"WARC-Concurrent-To": response_id}
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    request = _record(
        "request", url, date, beside, _http_head(f"GET {path} HTTP/1.1", exchange.request_headers)
    )
    return request, response, _record("metadata", url, date, beside, _fields(fields))


def _archived_name(name: bytes) -> bytes:
    return b"X-Crawler-Transfer-Encoding" if name.lower() == b"transfer-encoding" else name


def _http_head(start: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A start line and headers in the bytes that were on the wire."""
    lines = [start.encode("utf-8", "surrogateescape"), *[b"%b: %b" % header for header in headers], b"", b""]
    return b"\r\n".join(lines)


def _fields(fields: dict[str, str]) -> bytes:
    """`application/warc-fields`: a name and a value on each line, but for values that say nothing."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value).encode()


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
        "WARC-Block-Digest": _digest(head, payload),
        "Content-Type": _CONTENT_TYPES[kind],
        "Content-Length": str(len(head) + len(payload)),
    }
    text = b"".join([b"WARC/1.1\r\n", _fields(named), b"\r\n", head])
    return partly_stored(text, payload, _END) if encoded else deflated(b"".join([text, payload, _END]))


def _date(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _record_id() -> str:
    return f"<urn:uuid:{uuid4()}>"


def _digest(*parts: bytes) -> str:
    """SHA-1 in base 32: the digest that archives index and compare payloads by."""
    hashed = sha1(usedforsecurity=False)
    for part in parts:
        hashed.update(part)
    return f"sha1:{b32encode(hashed.digest()).decode()}"
