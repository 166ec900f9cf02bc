"""Responses out of archives, with their codings undone within bounds."""

from __future__ import annotations

import gzip
import zlib

import pytest

from dataprep.warc.content_encoding import BadEncoding
from dataprep.warc.http_response import HttpResponse, TooLarge, parse

TEXT = b"<p>The harbour is quiet.</p>" * 50


def page(body: bytes, limit: int = 10_000, **headers: str) -> bytes:
    return HttpResponse(200, {k.replace("_", "-"): v for k, v in headers.items()}, body).page(limit)


def test_a_head_is_parsed_and_the_body_stands() -> None:
    response = parse(b"HTTP/1.1 404 Gone\r\nContent-TYPE: text/html; charset=x\r\nA:b\r\n\r\n\r\n\r\nbody")
    assert (response.status, response.content_type) == (404, "text/html; charset=x")
    assert response.body == b"\r\n\r\nbody"
    assert parse(b"HTTP/2 200\nServer: a\n\nx").body == b"x"
    assert parse(b"no head at all") == HttpResponse(0, {}, b"no head at all")


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT), mtime=0)),
        ("identity", TEXT),
        ("gzip", TEXT),
        ("deflate", TEXT),
    ],
)
def test_codings_are_undone_also_where_an_archive_has_done_so_before(coding: str, body: bytes) -> None:
    chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    assert page(body, content_encoding=coding) == TEXT
    assert page(chunked, content_encoding=coding, transfer_encoding="chunked") == TEXT
    assert page(body, content_encoding=coding, transfer_encoding="chunked") == TEXT


def test_what_breaks_off_gives_what_came() -> None:
    body = gzip.compress(TEXT)
    assert TEXT.startswith(page(body[:-9], content_encoding="gzip")[:100])
    assert page(b"5\r\nabcde\r\n9\r\nfg", transfer_encoding="chunked") == b"abcdefg"


def test_bombs_and_unknown_codings_are_refused() -> None:
    with pytest.raises(TooLarge):
        page(gzip.compress(bytes(10_000_000)), content_encoding="gzip")
    with pytest.raises(TooLarge):
        page(bytes(10_001))
    with pytest.raises(BadEncoding):
        page(TEXT, content_encoding="br")
