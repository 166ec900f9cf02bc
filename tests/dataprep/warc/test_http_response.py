"""Responses out of archives: heads read as browsers do, codings undone within bounds."""

from __future__ import annotations

import gzip
import time
import zlib

import brotlicffi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.warc.content_encoding import BadEncoding, TooLarge
from dataprep.warc.http_response import HEAD_BYTES, HttpResponse, dechunked, media_type, parse
from support.servers.habits import PAGE, PAGES

TEXT = b"<p>The harbour is quiet.</p>" * 50


def page(body: bytes, limit: int = 10_000, **headers: str) -> bytes:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpResponse(200, fields, body).page(limit)


@pytest.mark.parametrize("habit", [name for name in PAGES if "hints" not in name and "continue" not in name])
def test_a_response_with_a_servers_habit_gives_its_page(habit: str) -> None:
    response = parse(PAGES[habit])
    assert response.status == 200
    assert media_type(response.content_type) in ("text/html", "application/xhtml+xml")
    assert response.page(10_000).strip() == PAGE


def test_a_head_is_parsed_and_the_body_stands() -> None:
    response = parse(b"HTTP/1.1 404 Gone\r\nContent-TYPE: text/html; charset=x\r\nA:b\r\n\r\n\r\n\r\nbody")
    assert (response.status, response.content_type) == (404, "text/html; charset=x")
    assert response.body == b"\r\n\r\nbody"
    assert parse(b"HTTP/2 200\nServer: a\n\nx").body == b"x"
    assert parse(b"no head at all") == HttpResponse(0, (), b"no head at all")


def test_a_hostile_head_takes_no_time_and_breaks_nothing() -> None:
    began = time.process_time()
    folded = b"HTTP/1.1 200 OK\r\nA: b\n" + b" x\n" * (HEAD_BYTES // 3 - 20) + b"\nbody"
    assert parse(folded).body == b"body"
    assert parse(b"HTTP/1.1 200 OK\r\nA: " + b"\r" * (HEAD_BYTES - 99) + b"\n\nbody").body == b"body"
    assert parse(b"HTTP/" + b"9" * 9999 + b" 200 OK\r\n\r\nbody").status == 0
    assert time.process_time() - began < 5


def test_a_head_beyond_the_limit_is_none() -> None:
    long = b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\nbody"
    assert parse(long % (b"x" * (HEAD_BYTES - 30))).body == b"body"
    assert parse(long % (b"x" * HEAD_BYTES)).status == 0


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:99], mtime=0) + gzip.compress(TEXT[99:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate, gzip", gzip.compress(zlib.compress(TEXT), mtime=0)),
        ("br", brotlicffi.compress(TEXT)),
        ("utf-8", TEXT),
        ("identity", TEXT),
        ("gzip", TEXT),
        ("deflate", TEXT),
        ("br", TEXT),
    ],
)
def test_codings_are_undone_also_where_an_archive_has_done_so_before(coding: str, body: bytes) -> None:
    chunked = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    assert page(body, content_encoding=coding) == TEXT
    assert page(chunked, content_encoding=coding, transfer_encoding="chunked") == TEXT
    assert page(body, content_encoding=coding, transfer_encoding="chunked") == TEXT


@pytest.mark.parametrize(
    "text",
    [
        b"Abstract of the report\r\n" + TEXT,
        b"Abstract of the report\n" + TEXT,
        b"Faced with\r\n" + TEXT,
        b"1984 was a bright cold day\r\n" + TEXT,
        b"3\r\nare the chapters of this book\r\n" + TEXT,
        b"5\r\nabcde\r\nand no size at all\r\n" + TEXT,
        b"0\r\n\r\nis where it begins\r\n" + TEXT,
        b"a;b\r\n" + TEXT,
        b"",
        b"0",
        b"cafe",
    ],
)
def test_a_text_whose_framing_an_archive_has_undone_stands(text: bytes) -> None:
    assert dechunked(text) == text


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6),
    line_end=st.sampled_from([b"\r\n", b"\n"]),
    extension=st.sampled_from([b"", b" ", b";a=b", b" ;a"]),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n", b"a: b\nc: d\n"]),
    data=st.data(),
)
def test_framing_is_taken_off_also_where_it_was_cut(
    pieces: list[bytes], line_end: bytes, extension: bytes, trailers: bytes, data: st.DataObject
) -> None:
    frame = [b"%x%b%b%b%b" % (len(each), extension, line_end, each, line_end) for each in pieces]
    whole = b"".join(frame) + b"0" + line_end + trailers + line_end
    assert dechunked(whole) == b"".join(pieces)
    first = len(frame[0]) - len(line_end)
    cut = data.draw(st.integers(first, len(whole)))
    assert b"".join(pieces).startswith(dechunked(whole[:cut]))
    assert dechunked(whole[:cut]).startswith(pieces[0])


def test_what_breaks_off_gives_what_came() -> None:
    body = gzip.compress(TEXT)
    assert TEXT.startswith(page(body[:-9], content_encoding="gzip")[:100])
    assert page(b"5\r\nabcde\r\n9\r\nfg", transfer_encoding="chunked") == b"abcdefg"


def test_bombs_and_what_cannot_be_undone_are_refused() -> None:
    bomb = bytes(10_000_000)
    bombs = {"gzip": gzip.compress(bomb), "deflate": zlib.compress(bomb), "br": brotlicffi.compress(bomb)}
    for coding, body in bombs.items():
        with pytest.raises(TooLarge):
            page(body, content_encoding=coding)
    with pytest.raises(TooLarge):
        page(bytes(10_001))
    with pytest.raises(BadEncoding):
        page(b"\x28\xb5\x2f\xfd" + bytes(99), content_encoding="zstd")
