from __future__ import annotations

from typing import Any

import pytest

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


def test_a_redirect_into_a_denied_path_is_denied(site: Any, crawl: Any) -> None:
    robots(site, RULES)
    site.html("http://a.test/private")
    (row,) = crawl(site.status("http://a.test/public", 302, Location="/private"))
    assert (row.outcome, row.final_url) == ("robots_denied", "http://a.test/private")


def test_a_host_that_is_not_there_says_so_instead_of_robots_unavailable(crawl: Any) -> None:
    rows = crawl("http://a.test/1", "http://a.test/2", connect_to=("::127.0.0.1:1",))
    assert [row.outcome for row in rows] == ["connect_error"] * 2
