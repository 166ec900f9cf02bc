from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from warcio.archiveiterator import ArchiveIterator

from dataprep.crawl.partition import Fetch

PAGE = b"<html><body>" + bytes(range(256)) * 50 + b"</body></html>"


def check(pages: Path) -> None:
    """`warcio check` over every file: records are readable and digests match."""
    files = sorted(str(path) for path in pages.glob("*.warc.gz"))
    assert files
    command = [sys.executable, "-m", "warcio.cli", "check", "-v", *files]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "digest pass" in result.stdout


def records(pages: Path) -> list[tuple[str, str]]:
    """(type, URI) of every record in the order of files and records."""
    found: list[tuple[str, str]] = []
    for path in sorted(pages.glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file):
                found.append((record.rec_type, record.rec_headers.get_header("WARC-Target-URI")))
    return found


def response(pages: Path, row: Fetch) -> Any:
    """The record that a row points at, read from those bytes alone; its decoded body as `text`."""
    with (pages / row.warc_file).open("rb") as file:
        file.seek(row.warc_offset)
        member = file.read(row.warc_length)
    gzip.decompress(member)  # exactly one whole member
    record = next(ArchiveIterator(BytesIO(member)))
    record.text = record.content_stream().read()
    return record


@pytest.mark.slow(2)
@pytest.mark.parametrize(
    ("encoding", "body"),
    [("identity", PAGE), ("gzip", gzip.compress(PAGE)), ("deflate", zlib.compress(PAGE))],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_page_reads_back_byte_equal(
    site: Any, crawl: Any, tmp_path: Path, encoding: str, body: bytes, chunked: bool
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/html", "Content-Encoding": encoding, "X-Name": "Zoë"}
        sent = web.StreamResponse(headers=headers)
        if chunked:
            sent.enable_chunked_encoding()
        else:
            sent.content_length = len(body)
        await sent.prepare(request)
        for start in range(0, len(body), 1000):
            await sent.write(body[start : start + 1000])
        return sent

    (row,) = crawl(site.serve("http://a.test/", answer))
    record = response(tmp_path / "pages", row)
    assert record.text == PAGE
    assert record.http_headers.get_header("Content-Encoding") == encoding
    assert record.http_headers.get_statuscode() == "200"
    check(tmp_path / "pages")


def test_the_archive_holds_request_response_and_metadata_of_every_hop(
    site: Any, crawl: Any, tmp_path: Path
) -> None:
    site.status("http://a.test/old", 301, Location="/new")
    site.html("http://a.test/new", PAGE)
    (row,) = crawl("http://a.test/old")
    kinds = ["request", "response", "metadata"]
    assert records(tmp_path / "pages") == [
        ("warcinfo", None),
        *[(kind, "http://a.test/old") for kind in kinds],
        *[(kind, "http://a.test/new") for kind in kinds],
    ]
    record = response(tmp_path / "pages", row)
    assert record.rec_headers.get_header("WARC-Target-URI") == "http://a.test/new"
    assert record.text == PAGE
    check(tmp_path / "pages")


def test_the_request_is_archived_as_it_was_sent(site: Any, crawl: Any, tmp_path: Path) -> None:
    crawl(site.html("http://a.test/x?q=%41"))
    (path,) = (tmp_path / "pages").glob("*.warc.gz")
    with path.open("rb") as file:
        headers = next(r.http_headers for r in ArchiveIterator(file) if r.rec_type == "request")
    assert (headers.protocol, headers.statusline) == ("GET", "/x?q=%41 HTTP/1.1")
    assert dict(headers.headers) == site.hits[-1].headers


def test_files_roll_at_their_size_and_rows_point_into_each(site: Any, crawl: Any, tmp_path: Path) -> None:
    urls = [site.html(f"http://a.test/{page}", PAGE + b"%d" % page) for page in range(6)]
    rows = crawl(*urls, max_warc_bytes=1500)
    assert len({row.warc_file for row in rows}) > 1
    for number, row in enumerate(rows):
        assert response(tmp_path / "pages", row).text == PAGE + b"%d" % number
    check(tmp_path / "pages")


def test_what_failed_leaves_a_row_and_no_record(site: Any, crawl: Any, tmp_path: Path) -> None:
    rows = crawl("http://a.test/missing", site.html("http://a.test/image", Content_Type="image/png"))
    assert [row.warc_file for row in rows] == ["", ""]
    assert not list((tmp_path / "pages").glob("*.warc.gz"))
