"""Exchanges as WARC 1.1 records (ISO 28500:2017), each a gzip member of its own.

The body of a response is archived as it was received, Content-Encoding and all. Only the chunked transfer
coding is gone, because the HTTP client takes it off; its header is kept under another name, as Common Crawl
does, or readers would look for chunks that are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from isal import igzip
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from dataprep.crawl.client import Exchange

COMPRESSION = 2
"""isal's level: five times as fast as gzip -9 for a sixth more bytes, so that the network stays the limit."""


@dataclass(frozen=True)
class Records:
    """Gzip members to append to a WARC file, and where in them the last response lies (in bytes)."""

    members: bytes
    response_offset: int
    response_length: int


def warcinfo(file_name: str, user_agent: str) -> bytes:
    """The record that opens a file: what wrote it and under which rules."""
    record = _writer(BytesIO()).create_warcinfo_record(
        file_name,
        {
            "software": "outbound",
            "format": "WARC File Format 1.1",
            "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
            "robots": "obey",
            "http-header-user-agent": user_agent,
        },
    )
    return _member(record)


def records(exchanges: list[Exchange]) -> Records:
    """Request, response and metadata of each exchange, in order; there must be at least one."""
    members = bytearray()
    offset = length = 0
    for hop, exchange in enumerate(exchanges):
        request, response, metadata = _exchange_records(exchange, hop, exchanges[hop - 1].url if hop else "")
        members += _member(request)
        offset = len(members)
        members += _member(response)
        length = len(members) - offset
        members += _member(metadata)
    return Records(bytes(members), offset, length)


def _exchange_records(exchange: Exchange, hop: int, via: str) -> tuple[Any, Any, Any]:
    """warcio records of one exchange; `via` is the address that redirected to it, if any."""
    create = _writer(BytesIO()).create_warc_record
    date = exchange.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    truncated = {"WARC-Truncated": "length"} if exchange.truncated else {}
    response = create(
        exchange.url,
        "response",
        payload=BytesIO(exchange.body),
        length=len(exchange.body),
        http_headers=StatusAndHeaders(
            f"{exchange.status} {exchange.reason}",
            [(_archived_name(name), value) for name, value in exchange.headers],
            protocol=exchange.http_version,
        ),
        warc_headers_dict={"WARC-Date": date, **truncated},
    )
    beside = {"WARC-Date": date, "WARC-Concurrent-To": response.rec_headers.get_header("WARC-Record-ID")}
    parts = urlsplit(exchange.url)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    request = create(
        exchange.url,
        "request",
        http_headers=StatusAndHeaders(f"GET {path} HTTP/1.1", exchange.request_headers, is_http_request=True),
        warc_headers_dict=dict(beside),
    )
    fields = {"fetchTimeMs": round(exchange.seconds * 1000), "hopsFromSeed": "R" * hop, "via": via}
    text = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value != "").encode()
    metadata = create(
        exchange.url, "metadata", payload=BytesIO(text), length=len(text), warc_headers_dict=dict(beside)
    )
    return request, response, metadata


def _archived_name(name: bytes) -> bytes:
    return b"X-Crawler-Transfer-Encoding" if name.lower() == b"transfer-encoding" else name


def _member(record: Any) -> bytes:
    """A record, serialised by warcio and compressed by isal."""
    plain = BytesIO()
    _writer(plain).write_record(record)
    return bytes(igzip.compress(plain.getvalue(), COMPRESSION))


def _writer(out: BytesIO) -> Any:
    return WARCWriter(out, gzip=False, warc_version="1.1")
