"""The same bytes are archived once; what is stored with a validator is asked for only if it has changed."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict
from warcio.archiveiterator import ArchiveIterator

from dataprep.crawl.partition import Fetch
from dataprep.extract.page import Page, read_page
from support.servers.pywb import replaying

BODY = b"<html><body><p>" + b"The same bytes. " * 500 + b"</p></body></html>"
IDENTICAL = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
NOT_MODIFIED = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"


def headers(pages: Path) -> list[dict[str, str]]:
    """The WARC headers of every response and revisit, in order; `warcio check` must find nothing wrong."""
    files = sorted(str(path) for path in pages.glob("*.warc.gz"))
    command = [sys.executable, "-m", "warcio.cli", "check", *files]
    assert subprocess.run(command, check=False).returncode == 0
    found = []
    for path in files:
        with open(path, "rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type in ("response", "revisit"):
                    found.append(dict(record.rec_headers.headers))
                    assert record.http_headers is not None
    return found


def place(row: Fetch) -> tuple[str, int, int]:
    return row.warc_file, row.warc_offset, row.warc_length


def stored_page(tmp_path: Path, row: Fetch) -> Page:
    return read_page(tmp_path / "pages" / row.warc_file, row.warc_offset, row.warc_length, 1 << 20)


def test_repeated_bytes_are_a_revisit_of_the_first_that_held_them(
    site: Any, crawl: Any, tmp_path: Path
) -> None:
    urls = [site.html(f"http://{name}.test/", BODY) for name in "abc"]
    rows = crawl(*urls, concurrency=1)
    assert len({place(row) for row in rows}) == 1
    first, *others = headers(tmp_path / "pages")
    assert first["WARC-Type"] == "response"
    for url, record in zip(urls[1:], others, strict=True):
        assert record["WARC-Type"] == "revisit"
        assert record["WARC-Target-URI"] == url
        assert record["WARC-Profile"] == IDENTICAL
        assert record["WARC-Payload-Digest"] == first["WARC-Payload-Digest"]
        assert record["WARC-Refers-To"] == first["WARC-Record-ID"]
        assert record["WARC-Refers-To-Target-URI"] == first["WARC-Target-URI"]
        assert record["WARC-Refers-To-Date"] == first["WARC-Date"]


def test_the_body_of_a_revisit_is_found_by_its_row(site: Any, crawl: Any, tmp_path: Path) -> None:
    for row in crawl(*[site.html(f"http://{name}.test/", BODY) for name in "ab"]):
        page = stored_page(tmp_path, row)
        assert page.body == BODY
        assert len(page.day) == 10


@pytest.mark.parametrize(
    "second",
    [
        {"Content_Type": "text/plain"},
        {"Content_Type": "text/html", "Content_Encoding": "gzip"},
    ],
)
def test_bytes_that_would_read_otherwise_are_no_revisit(
    site: Any, crawl: Any, tmp_path: Path, second: dict[str, str]
) -> None:
    packed = gzip.compress(BODY, mtime=0)
    crawl(site.html("http://a.test/1", packed), site.html("http://a.test/2", packed, **second))
    assert [record["WARC-Type"] for record in headers(tmp_path / "pages")] == ["response"] * 2


def test_bytes_whose_codings_stand_in_two_headers_are_no_revisit_of_those_in_one(
    site: Any, crawl: Any, tmp_path: Path
) -> None:
    packed = gzip.compress(gzip.compress(BODY, mtime=0), mtime=0)

    async def twice(_: web.Request) -> web.StreamResponse:
        named = CIMultiDict([("Content-Type", "text/html"), *[("Content-Encoding", "gzip")] * 2])
        return web.Response(body=packed, headers=named)

    once = site.html("http://a.test/1", packed, Content_Encoding="gzip")
    crawl(once, site.serve("http://a.test/2", twice))
    assert [record["WARC-Type"] for record in headers(tmp_path / "pages")] == ["response"] * 2


def test_empty_pages_and_redirects_are_no_revisits(site: Any, crawl: Any, tmp_path: Path) -> None:
    for page in "12":
        site.status(f"http://a.test/{page}", 301, Location=f"/empty{page}")
        site.html(f"http://a.test/empty{page}", b"")
    crawl("http://a.test/1", "http://a.test/2")
    assert [record["WARC-Type"] for record in headers(tmp_path / "pages")] == ["response"] * 4


def test_a_payload_is_known_after_a_restart(site: Any, crawl: Any, tmp_path: Path) -> None:
    one, other = site.html("http://a.test/1", BODY), site.html("http://a.test/2", BODY)
    (first,) = crawl(one)
    again, repeated = crawl(one, other)
    assert again == first
    assert place(repeated) == place(first)
    assert repeated.warc_file == "part-0001-00000.warc.gz"
    assert [record["WARC-Type"] for record in headers(tmp_path / "pages")] == ["response", "revisit"]


def test_a_revisit_whose_payload_was_cut_off_is_fetched_again(site: Any, crawl: Any, tmp_path: Path) -> None:
    one, other = site.html("http://a.test/1", BODY), site.html("http://a.test/2", BODY)
    (first,) = crawl(one)
    crawl(one, other)
    os.truncate(tmp_path / "pages" / first.warc_file, first.warc_offset)
    rows = crawl(one, other)
    assert [row.outcome for row in rows] == ["ok", "ok"]
    for row in rows:
        assert stored_page(tmp_path, row).body == BODY


def validated(site: Any, url: str, **validators: str) -> str:
    """Serve a page with validators, as servers do: 304 to whoever names one of them."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = (request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since"))
        if any(value and value in validators.values() for value in asked):
            return web.Response(status=304, headers={"ETag": validators.get("ETag", "")})
        named = {name.replace("_", "-"): value for name, value in validators.items()}
        return web.Response(body=BODY, headers={"Content-Type": "text/html", **named})

    return str(site.serve(url, answer))


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    "validators", [{"ETag": '"v1"'}, {"Last_Modified": "Mon, 01 Jan 2018 00:00:00 GMT"}, {"ETag": 'W/"x"'}]
)
def test_a_page_that_several_links_lead_to_comes_once(
    site: Any, crawl: Any, tmp_path: Path, validators: dict[str, str]
) -> None:
    page = validated(site, "http://a.test/page", **validators)
    old = [site.status(f"http://a.test/{name}", 301, Location="/page") for name in ("x", "y")]
    rows = crawl(page, *old)
    assert [(row.outcome, row.status, row.final_url) for row in rows] == [
        ("ok", 200, page),
        ("ok", 304, page),
        ("ok", 304, page),
    ]
    assert len({place(row) for row in rows}) == 1
    assert {row.content_type for row in rows} == {"text/html"}
    revisits = [record for record in headers(tmp_path / "pages") if record["WARC-Type"] == "revisit"]
    assert [record["WARC-Profile"] for record in revisits] == [NOT_MODIFIED] * 2


@pytest.mark.slow(2)
def test_pywb_replays_a_revisit_of_either_profile(site: Any, crawl: Any, tmp_path: Path) -> None:
    page = validated(site, "http://a.test/page", ETag='"v1"')
    site.status("http://a.test/x", 301, Location="/page")
    crawl(page, "http://a.test/x", site.html("http://b.test/same", BODY), concurrency=1)
    kinds = [record.get("WARC-Profile") for record in headers(tmp_path / "pages")]
    assert sorted(map(str, kinds)) == sorted(["None", "None", NOT_MODIFIED, IDENTICAL])
    with replaying(tmp_path / "replay", *(tmp_path / "pages").glob("*.warc.gz")) as archive:
        for url in (page, "http://b.test/same"):
            with urllib.request.urlopen(f"{archive}/2099id_/{url}") as answer:
                assert answer.read() == BODY


def test_a_page_that_has_changed_comes_again(site: Any, crawl: Any) -> None:
    versions = iter(range(9))

    async def answer(_: web.Request) -> web.StreamResponse:
        version = next(versions)
        body, tag = f"<p>{version}</p>", {"ETag": f'"{version}"'}
        return web.Response(text=body, content_type="text/html", headers=tag)

    page = site.serve("http://a.test/page", answer)
    rows = crawl(page, site.status("http://a.test/x", 301, Location="/page"))
    assert [row.status for row in rows] == [200, 200]
    assert len({place(row) for row in rows}) == 2


def test_304_to_a_question_without_conditions_is_an_error(site: Any, crawl: Any) -> None:
    (row,) = crawl(site.status("http://a.test/", 304))
    assert row.outcome == "http_error"
