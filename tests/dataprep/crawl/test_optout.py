"""Opt-outs of training are honoured wherever they stand, and what is none is not taken for one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dataprep.crawl.optout import Reservations, header_opt_out, page_opt_out
from dataprep.crawl.partition import Fetch

PAGE = "<html><head><title>T</title>{}</head><body><p>Hello.</p></body></html>"


def ends(rows: list[Fetch]) -> list[tuple[str, str]]:
    return [(row.outcome, row.detail) for row in rows]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("X-Robots-Tag", "noai", "X-Robots-Tag: noai"),
        ("x-robots-tag", "noindex, NoImageAI", "X-Robots-Tag: noimageai"),
        ("X-Robots-Tag", "outbound: noai", "X-Robots-Tag: noai"),
        ("X-Robots-Tag", "otherbot: noindex, outbound: nofollow, noai", "X-Robots-Tag: noai"),
        ("X-Robots-Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST, noai", "X-Robots-Tag: noai"),
        ("X-Robots-Tag", "max-snippet: 20, noai", "X-Robots-Tag: noai"),
        ("TDM-Reservation", " 1", "tdm-reservation: 1"),
        ("Content-Usage", "search=y, train-ai=n", "Content-Usage: train-ai=n"),
        ("content-usage", 'train-ai=n;why="ours, train-ai=y"', "Content-Usage: train-ai=n"),
        ("Content-Signal", "search=yes,ai-train=no", "Content-Signal: ai-train=no"),
        ("X-Archive-Orig-X-Robots-Tag", "noai", "X-Robots-Tag: noai"),
        ("Content-Usage", "train-ai=y", ""),
        ("Content-Usage", 'train-ai="n"', ""),
        ("Content-Usage", "train-ai=n, train-ai=y", ""),  # of a repeated key the last counts
        ("Content-Usage", "train-ai=n,", ""),  # no dictionary
        ("Content-Signal", "ai-train=yes, ai-input=no", ""),
        ("X-Robots-Tag", "otherbot: noai", ""),
        ("X-Robots-Tag", "noindex, nofollow, noarchive, nosnippet", ""),
        ("X-Robots-Tag", "noaiming", ""),
        ("TDM-Reservation", "0", ""),
        ("TDM-Policy", "https://a.test/policy.json", ""),
        ("Content-Type", "noai", ""),
    ],
)
def test_headers(name: str, value: str, found: str) -> None:
    assert header_opt_out([("Server", "x"), (name, value)], "Outbound") == found


def test_several_content_usage_headers_are_one_dictionary() -> None:
    lines = [("Content-Usage", "train-ai=y"), ("Server", "x"), ("content-usage", "train-ai=n")]
    assert header_opt_out(lines, "outbound") == "Content-Usage: train-ai=n"
    assert header_opt_out(lines[::-1], "outbound") == ""


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ('<meta name="robots" content="noai, noimageai">', "meta robots: noai"),
        ("<META CONTENT=NOIMAGEAI NAME=ROBOTS>", "meta robots: noimageai"),
        ('<meta name="Outbound" content="noai"/>', "meta outbound: noai"),
        ("<meta name='tdm-reservation' content='1'>", "meta tdm-reservation: 1"),
        ('<meta name="otherbot" content="noai">', ""),
        ('<meta name="robots" content="noindex">', ""),
        ('<meta name="tdm-reservation" content="0">', ""),
        ('<meta name="description" content="noai">', ""),
        ('<!-- <meta name="robots" content="noai"> -->', ""),
        ('<script>x = \'<meta name="robots" content="noai">\'</script>', ""),
        ("<title>noai</title>", ""),
        ('<![foo[ x ]]><![endif]--><meta name="robots" content="noai">', "meta robots: noai"),
        ('<!x <?y </ <meta name="robots" content="noai', ""),
    ],
)
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_meta_elements(meta: str, found: str, charset: str) -> None:
    assert page_opt_out(PAGE.format(meta).encode(charset), "outbound") == found


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        {"location": "/open/", "tdm-reservation": 0},
        {"location": "/", "tdm-reservation": 1, "tdm-policy": "https://a.test/policy"},
    ]
    reserved = Reservations.parse(json.dumps(rules))
    assert [reserved.reserve(f"http://a.test/{path}") for path in ("open/1", "closed", "")] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("text", ["", "{}", "[1, null]", '[{"tdm-reservation": 1}]', "[" * 100_000, "<html>"])
def test_what_is_no_tdmrep_reserves_nothing(text: str) -> None:
    assert Reservations.parse(text) == Reservations()


def test_a_page_that_opts_out_is_counted_and_not_stored(site: Any, crawl: Any, tmp_path: Path) -> None:
    meta = PAGE.format('<meta name="robots" content="noai">')
    urls = [
        site.html("http://a.test/header", X_Robots_Tag="noai"),
        site.html("http://a.test/tdm", TDM_Reservation="1"),
        site.html("http://a.test/usage", Content_Usage="train-ai=n"),
        site.html("http://a.test/meta", gzip.compress(meta.encode()), Content_Encoding="gzip"),
        site.html("http://a.test/text", meta, Content_Type="text/plain"),
        site.html("http://a.test/noindex", X_Robots_Tag="noindex"),
    ]
    assert ends(crawl(*urls)) == [
        ("opted_out", "X-Robots-Tag: noai"),
        ("opted_out", "tdm-reservation: 1"),
        ("opted_out", "Content-Usage: train-ai=n"),
        ("opted_out", "meta robots: noai"),
        ("ok", ""),
        ("ok", ""),
    ]
    stored = b"".join(gzip.decompress(path.read_bytes()) for path in tmp_path.rglob("*.warc.gz"))
    assert stored.count(b"WARC-Type: response") == 2


def test_tdmrep_json_is_asked_for_once_a_host_and_what_it_reserves_is_not_asked_for(
    site: Any, crawl: Any
) -> None:
    for host in ("a.test", "www.a.test"):
        rules = json.dumps([{"location": "/closed/*", "tdm-reservation": 1}])
        site.html(f"http://{host}/.well-known/tdmrep.json", rules, Content_Type="application/json")
    urls = [site.html(f"http://{host}a.test/{page}") for host in ("", "www.") for page in ("closed/1", "2")]
    assert ends(crawl(*urls, site_concurrency=3)) == [("opted_out", "tdmrep.json"), ("ok", "")] * 2
    for host in ("a.test", "www.a.test"):
        assert sorted(site.paths(host)) == ["/.well-known/tdmrep.json", "/2", "/robots.txt"]


def test_what_robots_txt_says_about_training_is_asked_for_no_page(site: Any, crawl: Any) -> None:
    """As Cloudflare writes it for millions of domains, and as the IETF's draft has it."""
    told = {
        "signal.test": "User-agent: *\nContent-Signal: search=yes,ai-train=no\nAllow: /\n",
        "usage.test": "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /open/ train-ai=y\n",
        "search.test": "User-agent: *\nContent-Signal: search=no, ai-input=no\nContent-Usage: search=n\n",
    }
    urls = list[str]()
    for host, robots in told.items():
        site.html(f"http://{host}/robots.txt", robots, Content_Type="text/plain")
        urls += [site.html(f"http://{host}/{page}") for page in ("page", "open/page")]
    assert ends(crawl(*urls)) == [
        ("opted_out", "robots.txt Content-Signal: ai-train=no"),
        ("opted_out", "robots.txt Content-Signal: ai-train=no"),
        ("opted_out", "robots.txt Content-Usage: train-ai=n"),
        ("ok", ""),
        ("ok", ""),
        ("ok", ""),
    ]
    assert site.paths("signal.test") == ["/robots.txt"]


def test_a_no_to_known_training_crawlers_is_a_no_to_ours_if_the_recipe_says_so(site: Any, crawl: Any) -> None:
    shut = "User-agent: GPTBot\nUser-agent: CCBot\nDisallow: /closed\n\nUser-agent: *\nDisallow: /private\n"
    told = {"a.test": shut, "b.test": f"{shut}\nUser-agent: outbound\nAllow: /\n"}
    urls = list[str]()
    for host, robots in told.items():
        site.html(f"http://{host}/robots.txt", robots, Content_Type="text/plain")
        urls += [site.html(f"http://{host}/{page}") for page in ("closed", "open")]
    assert ends(crawl(*urls, training_crawlers=1)) == [
        ("opted_out", "robots.txt Disallow: CCBot"),
        ("ok", ""),
        ("ok", ""),  # a site that names our agent has told us itself
        ("ok", ""),
    ]


def test_without_the_recipe_s_choice_other_crawlers_are_no_concern_of_ours(site: Any, crawl: Any) -> None:
    site.html("http://a.test/robots.txt", "User-agent: GPTBot\nDisallow: /\n", Content_Type="text/plain")
    assert ends(crawl(site.html("http://a.test/"))) == [("ok", "")]


def test_a_host_that_is_out_of_order_at_tdmrep_json_has_reserved_nothing(site: Any, crawl: Any) -> None:
    site.status("http://a.test/.well-known/tdmrep.json", 503)
    assert ends(crawl(site.html("http://a.test/"))) == [("ok", "")]


def test_a_redirect_into_what_is_reserved_ends_there(site: Any, crawl: Any) -> None:
    rules = json.dumps([{"location": "/closed", "tdm-reservation": "1"}])
    site.html("http://a.test/.well-known/tdmrep.json", rules)
    (row,) = crawl(site.status("http://a.test/", 302, Location="/closed"))
    assert (row.outcome, row.final_url) == ("opted_out", "http://a.test/closed")
