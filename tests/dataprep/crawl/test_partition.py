from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dataprep.crawl.outcomes import OUTCOMES
from dataprep.crawl.partition import Fetch, Target, fetch_part
from dataprep.errors import DataError
from support.patience import patient

HTML = {"Content-Type": "text/html"}


def outcomes(rows: list[Fetch]) -> list[str]:
    assert all(row.outcome in OUTCOMES for row in rows)
    return [row.outcome for row in rows]


def test_every_target_gets_one_row_in_the_order_given(site: Any, crawl: Any) -> None:
    urls = [site.html(f"http://{name}.test/{page}") for page in range(3) for name in "abc"]
    rows = crawl(*urls)
    assert [row.url for row in rows] == urls
    assert outcomes(rows) == ["ok"] * 9


def test_a_page_comes_with_what_its_server_said_of_it(site: Any, crawl: Any) -> None:
    url = site.html(
        "http://a.test/",
        Content_Type="Text/HTML; charset=utf-8",
        ETag='"1"',
        Last_Modified="Mon, 01 Jan 2018",
    )
    (row,) = crawl(url)
    assert (row.outcome, row.status, row.final_url, row.content_type) == ("ok", 200, url, "text/html")
    assert (row.etag, row.last_modified) == ('"1"', "Mon, 01 Jan 2018")
    assert row.warc_length > 0


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(404, "not_found"), (410, "not_found"), (403, "http_error"), (204, "http_error"), (304, "http_error")]
    + [(status, "server_error") for status in (429, 500, 503)],
)
def test_a_status_is_told_apart(site: Any, crawl: Any, status: int, outcome: str) -> None:
    (row,) = crawl(site.status("http://a.test/", status))
    assert (row.outcome, row.status, row.warc_file) == (outcome, status, "")


def test_a_redirect_inside_the_site_is_followed(site: Any, crawl: Any) -> None:
    site.status("http://a.test/old", 301, Location="//www.a.test/new?x=1#part")
    site.html("http://www.a.test/new?x=1")
    (row,) = crawl("http://a.test/old")
    assert (row.outcome, row.final_url) == ("ok", "http://www.a.test/new?x=1")


def test_a_redirect_in_raw_bytes_is_followed(site: Any, crawl: Any) -> None:
    async def latin_1(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9\r\nContent-Length: 0\r\n\r\n")
        request.transport.close()
        return web.Response()

    site.html("http://a.test/caf%E9")
    (row,) = crawl(site.serve("http://a.test/", latin_1))
    assert (row.outcome, row.final_url) == ("ok", "http://a.test/caf%E9")


def test_a_redirect_off_the_site_is_left_to_its_owner(site: Any, crawl: Any) -> None:
    site.status("http://a.test/old", 302, Location="https://b.test/new")
    (row,) = crawl("http://a.test/old")
    assert (row.outcome, row.status, row.final_url) == ("moved", 302, "https://b.test/new")
    assert site.paths("b.test") == []


def test_a_redirect_in_a_circle_ends(site: Any, crawl: Any) -> None:
    site.status("http://a.test/1", 302, Location="/2")
    site.status("http://a.test/2", 302, Location="/1")
    (row,) = crawl("http://a.test/1")
    assert row.outcome == "redirect_loop"
    assert site.paths("a.test") == ["/robots.txt", "/1", "/2"]


def test_an_endless_chain_of_redirects_ends(site: Any, crawl: Any) -> None:
    for page in range(10):
        site.status(f"http://a.test/{page}", 302, Location=f"/{page + 1}")
    (row,) = crawl("http://a.test/0", max_redirects=3)
    assert row.outcome == "redirect_loop"
    assert site.paths("a.test") == ["/robots.txt", "/0", "/1", "/2", "/3"]


@pytest.mark.parametrize("location", ["ftp://a.test/", "javascript:alert(1)", "http://[", "mailto:a@a.test"])
def test_a_redirect_to_what_is_no_page_is_a_bad_url(site: Any, crawl: Any, location: str) -> None:
    (row,) = crawl(site.status("http://a.test/", 302, Location=location))
    assert row.outcome == "bad_url"


def test_what_is_not_text_is_not_fetched(site: Any, crawl: Any) -> None:
    image = site.html("http://a.test/image", bytes(100), Content_Type="image/png")
    text = site.html("http://a.test/text", "words", Content_Type="text/plain;charset=ascii")
    assert outcomes(crawl(image, text)) == ["wrong_type", "ok"]


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=HTML)
    await response.prepare(request)
    while True:
        await response.write(bytes(10_000))


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=HTML)
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.05)


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(patient())
    return web.Response()


async def breaking_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={**HTML, "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"only this")
    assert request.transport is not None
    request.transport.close()
    return response


async def hanging_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def many_headers(_: web.Request) -> web.StreamResponse:
    return web.Response(headers=[("X-Filler", "x" * 100)] * 20_000)


@pytest.mark.slow(3)
@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (endless, "too_large"),
        (dripping, "timeout"),
        (silent, "timeout"),
        (breaking_off, "incomplete"),
        (hanging_up, "connect_error"),
        (many_headers, "bad_http"),
    ],
)
def test_a_hostile_server_costs_one_row(site: Any, crawl: Any, handler: Any, outcome: str) -> None:
    bad = site.serve("http://a.test/bad", handler)
    good = site.html("http://a.test/good")
    assert outcomes(crawl(bad, good, read_timeout_s=patient(1), total_timeout_s=patient(2))) == [
        outcome,
        "ok",
    ]


def test_a_decompression_bomb_is_not_unpacked(site: Any, crawl: Any) -> None:
    url = site.html("http://a.test/", gzip.compress(bytes(100_000_000)), Content_Encoding="gzip")
    (row,) = crawl(url)
    assert row.outcome == "too_large"
    assert "decoded" in row.detail


def test_a_body_that_is_announced_too_large_is_not_read(site: Any, crawl: Any) -> None:
    (row,) = crawl(site.html("http://a.test/", bytes(300_000)))
    assert (row.outcome, row.detail) == ("too_large", "Content-Length 300000")


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", b"\x1f\x8b\x08no"), ("zstd", bytes(9)), ("gzip, br", bytes(9))]
)
def test_a_body_that_cannot_be_decoded_is_named(site: Any, crawl: Any, encoding: str, body: bytes) -> None:
    (row,) = crawl(site.html("http://a.test/", body, Content_Encoding=encoding))
    assert row.outcome == "bad_encoding"


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:192.168.0.1]/",
        "http://127.0.0.1/",
        "http://localhost/",
    ],
)
def test_an_inward_address_is_refused_by_number_and_by_name(crawl: Any, url: str) -> None:
    (row,) = crawl(url, contact="crawl@example.com", allow_loopback=False, connect_to=())
    assert row.outcome == "refused_address"


@pytest.mark.parametrize("url", ["http://2130706433/", "http://0/", "http://127.1/"])
def test_a_number_in_disguise_connects_to_nothing(crawl: Any, url: str) -> None:
    (row,) = crawl(url, contact="crawl@example.com", allow_loopback=False, connect_to=())
    assert row.outcome in ("refused_address", "bad_url")


def test_a_connect_to_target_passes_the_guard_too(site: Any, crawl: Any) -> None:
    (row,) = crawl(site.html("http://a.test/"), contact="crawl@example.com", allow_loopback=False)
    assert row.outcome == "refused_address"
    assert site.hits == []


@pytest.mark.parametrize("location", ["http://10.0.0.1/", "http://inside.a.test/", "http://[fe80::1]/"])
def test_a_redirect_inward_is_refused(site: Any, crawl: Any, location: str) -> None:
    url = site.status("http://a.test/", 302, Location=location)
    routes = (f"a.test::127.0.0.1:{site.port}", "inside.a.test::10.0.0.1:80")
    (row,) = crawl(url, connect_to=routes)
    assert row.outcome == "refused_address"


@pytest.mark.parametrize("port", [22, 25, 6379, 9200])
def test_a_port_where_no_web_server_belongs_is_refused(site: Any, crawl: Any, port: int) -> None:
    site.status("http://a.test/", 302, Location=f"http://a.test:{port}/")
    rows = crawl(f"http://a.test:{port}/", "http://a.test/", site.html("http://a.test:8080/"))
    assert outcomes(rows) == ["refused_port", "refused_port", "ok"]
    assert {hit.host for hit in site.hits} == {"a.test", "a.test:8080"}


def test_public_hosts_are_not_crawled_without_a_contact(site: Any, crawl: Any) -> None:
    near = site.html("http://a.test/")
    with pytest.raises(DataError, match=r"https://example\.com/: .*contact"):
        crawl(near, "https://example.com/", connect_to=(f"a.test::127.0.0.1:{site.port}",))
    assert site.hits == []


def test_the_user_agent_says_whom_to_write_to(site: Any, crawl: Any) -> None:
    crawl(site.html("http://a.test/"), contact="crawl@example.com")
    assert {hit.headers["User-Agent"] for hit in site.hits} == {
        "Mozilla/5.0 (compatible; outbound; +crawl@example.com)"
    }


def test_an_escape_in_a_url_is_sent_as_it_stands(site: Any, crawl: Any) -> None:
    crawl("http://a.test/%7Ea/b%2Fc?q=%C3%A9&r=a+b%20c")
    assert site.paths("a.test")[-1] == "/%7Ea/b%2Fc?q=%C3%A9&r=a+b%20c"


def test_what_does_not_begin_within_the_budget_is_deferred_and_tried_by_the_next_call(
    site: Any, crawl: Any
) -> None:
    urls = [site.html(f"http://{name}.test/") for name in "abc"]
    assert outcomes(crawl(*urls, hours=0)) == ["deferred"] * 3
    assert outcomes(crawl(*urls)) == ["ok"] * 3


def test_a_site_that_keeps_failing_is_left_alone(site: Any, crawl: Any) -> None:
    urls = [site.status(f"http://a.test/{page}", 503) for page in range(9)]
    assert outcomes(crawl(*urls, max_site_failures=3)) == ["server_error"] * 3 + ["deferred"] * 6
    assert len(site.hits) == 1 + 3


def test_a_temporary_failure_is_tried_again(site: Any, crawl: Any) -> None:
    answers = iter([web.Response(status=503), web.Response(text="now", content_type="text/html")])

    async def second_time(_: web.Request) -> web.StreamResponse:
        return next(answers)

    assert outcomes(crawl(site.serve("http://a.test/", second_time), retries=1)) == ["ok"]


def test_a_finished_part_is_not_fetched_again(site: Any, crawl: Any) -> None:
    urls = [site.html("http://a.test/1"), "http://a.test/2"]
    first, hits = crawl(*urls), len(site.hits)
    assert crawl(*urls) == first
    assert len(site.hits) == hits


def test_every_row_ticks_once(
    site: Any, settings: Any, as_targets: Callable[..., list[Target]], tmp_path: Path
) -> None:
    urls = [site.html(f"http://{name}.test/") for name in "abc"]
    for _ in range(2):  # fetched, then adopted
        ticked: list[Fetch] = []
        rows = fetch_part("part", as_targets(*urls), tmp_path, settings, ticked.append)
        assert sorted(row.url for row in ticked) == urls
        assert len(rows) == 3
