from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from aiohttp import web

from support.patience import patient

RULES = "User-agent: *\nDisallow: /private\n"


def robots(site: Any, text: bytes | str, host: str = "a.test", **headers: str) -> None:
    site.html(f"http://{host}/robots.txt", text, **{"Content_Type": "text/plain", **headers})


def test_a_denied_page_is_not_asked_for(site: Any, crawl: Any) -> None:
    robots(site, RULES)
    denied = site.html("http://a.test/private/1")
    allowed = site.html("http://a.test/public")
    assert [row.outcome for row in crawl(denied, allowed)] == ["robots_denied", "ok"]
    assert site.paths("a.test") == ["/robots.txt", "/public"]


def test_robots_txt_is_fetched_once_for_each_host(site: Any, crawl: Any) -> None:
    urls = [site.html(f"http://{host}/{page}") for host in ("a.test", "www.a.test") for page in range(3)]
    crawl(*urls, site_concurrency=3)
    assert site.paths("a.test").count("/robots.txt") == 1
    assert site.paths("www.a.test").count("/robots.txt") == 1


def test_our_own_group_goes_before_the_star(site: Any, crawl: Any) -> None:
    robots(site, "User-agent: *\nDisallow: /\n\nUser-agent: Outbound\nDisallow: /b\n")
    rows = crawl(site.html("http://a.test/a"), site.html("http://a.test/b"))
    assert [row.outcome for row in rows] == ["ok", "robots_denied"]


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),  # the longest match decides
        ("User-agent: *\nAllow: /a\nDisallow: /a/b", "/a/b/c", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", True),  # equally long: allowed
        ("User-agent: *\nDisallow: /*.php$", "/x.php", False),
        ("User-agent: *\nDisallow: /*.php$", "/x.php?y", True),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /A", "/a", True),  # paths are case-sensitive
        ("USER-AGENT: OUTBOUND\nDISALLOW: /a", "/a", False),  # names are not
        ("User-agent: outbound\nDisallow: /a\n\nUser-agent: *\nDisallow: /", "/b", True),
        ("User-agent: outbound\nDisallow: /a\n\nUser-agent: outbound\nDisallow: /b", "/b", False),  # merged
        ("User-agent: other\nUser-agent: outbound\nDisallow: /a", "/a", False),  # a group of two
        ("User-agent: other\nDisallow: /", "/a", True),
        ("User-agent: *\r\nDisallow: /a # why\r\n", "/a", False),
        ("User-agent: *\rDisallow: /a\r", "/a", False),
        ("User-agent: *\nDisallow: /caf%C3%A9", "/caf%C3%A9", False),
        ("User-agent: *\nDisallow: /café", "/caf%C3%A9", False),
        ("User-agent: *\nDisallow: /%7Ea", "/~a", False),
        ("<html><body>no rules</body></html>", "/a", True),
        ("User-agent: outbound\nCrawl-delay: 0\nUser-agent: *\nDisallow: /a", "/a", False),  # one group
        ("User-agent: outbound\nX-Unknown: 1\nUser-agent: *\nDisallow: /a", "/a", False),
        ("User-agent: outbound\nContent-Signal: search=yes\nUser-agent: *\nDisallow: /a", "/a", False),
        ("User-agent: Outbound Bot\nDisallow: /a\n\nUser-agent: *\nAllow: /", "/a", False),
        ("User-agent: out\nDisallow: /a\n\nUser-agent: *\nAllow: /", "/a", True),
        ("Sitemap: http://a.test/s.xml\nUser-agent: *\nnonsense\nDisallow: /a", "/a", False),
    ],
)
def test_rules_by_rfc_9309(site: Any, crawl: Any, rules: str, path: str, allowed: bool) -> None:
    robots(site, rules)
    (row,) = crawl(site.html(f"http://a.test{path}"))
    assert row.outcome == ("ok" if allowed else "robots_denied")


@pytest.mark.slow(1)
def test_robots_txt_that_cannot_be_read_in_time_or_breaks_off_defers_its_pages(site: Any, crawl: Any) -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(patient())
        return web.Response()

    async def breaking_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"User-agent: *\n")
        assert request.transport is not None
        request.transport.close()
        return response

    site.serve("http://a.test/robots.txt", silent)
    site.serve("http://b.test/robots.txt", breaking_off)
    rows = crawl(
        site.html("http://a.test/"),
        site.html("http://b.test/"),
        total_timeout_s=patient(2),
        read_timeout_s=patient(1),
    )
    assert [row.outcome for row in rows] == ["robots_unavailable"] * 2


def test_more_redirects_than_five_are_no_robots_txt(site: Any, crawl: Any) -> None:
    site.status("http://a.test/robots.txt", 302, Location="/0")
    for hop in range(9):
        site.status(f"http://a.test/{hop}", 302, Location=f"/{hop + 1}")
    (row,) = crawl(site.html("http://a.test/"))
    assert row.outcome == "ok"
    assert site.paths("a.test") == ["/robots.txt", "/0", "/1", "/2", "/3", "/4", "/"]


def test_a_byte_order_mark_does_not_open_the_door(site: Any, crawl: Any) -> None:
    robots(site, b"\xef\xbb\xbf" + RULES.encode())
    (row,) = crawl(site.html("http://a.test/private"))
    assert row.outcome == "robots_denied"


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_4xx_allows(site: Any, crawl: Any, status: int) -> None:
    site.status("http://a.test/robots.txt", status)
    (row,) = crawl(site.html("http://a.test/"))
    assert row.outcome == "ok"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_in_trouble_defers_its_pages(site: Any, crawl: Any, status: int) -> None:
    site.status("http://a.test/robots.txt", status)
    rows = crawl(site.html("http://a.test/1"), site.html("http://a.test/2"))
    assert [row.outcome for row in rows] == ["robots_unavailable"] * 2
    assert site.paths("a.test") == ["/robots.txt"]


def test_a_redirected_robots_txt_counts(site: Any, crawl: Any) -> None:
    site.status("http://a.test/robots.txt", 301, Location="http://b.test/rules")
    robots(site, RULES, host="b.test")
    site.html("http://b.test/rules", RULES)
    (row,) = crawl(site.html("http://a.test/private"))
    assert row.outcome == "robots_denied"


def test_what_lies_beyond_500_kib_is_ignored(site: Any, crawl: Any) -> None:
    robots(site, RULES + "# filler\n" * 70_000 + "User-agent: *\nDisallow: /public\n")
    rows = crawl(site.html("http://a.test/private"), site.html("http://a.test/public"))
    assert [row.outcome for row in rows] == ["robots_denied", "ok"]


def test_500_kib_are_read_of_a_file_that_is_compressed_too(site: Any, crawl: Any) -> None:
    text = ("#" * 99 + "\n") * 5100 + RULES + ("#" * 99 + "\n") * 5000
    robots(site, gzip.compress(text.encode()), Content_Encoding="gzip")
    assert crawl(site.html("http://a.test/private"))[0].outcome == "robots_denied"


def test_a_redirect_into_a_denied_path_is_denied(site: Any, crawl: Any) -> None:
    robots(site, RULES)
    site.html("http://a.test/private")
    (row,) = crawl(site.status("http://a.test/public", 302, Location="/private"))
    assert (row.outcome, row.final_url) == ("robots_denied", "http://a.test/private")


def test_a_host_that_is_not_there_says_so_instead_of_robots_unavailable(crawl: Any) -> None:
    rows = crawl("http://a.test/1", "http://a.test/2", connect_to=("::127.0.0.1:1",))
    assert [row.outcome for row in rows] == ["connect_error"] * 2
