"""The embedded web keeps its promises: served over loopback, with all that goes wrong on a real one."""

import gzip
import http.client
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from pipeline.demo.library import DocPage
from pipeline.demo.sites import (
    FORBIDDEN,
    HUGE_BYTES,
    LIBRARY,
    MIRROR,
    SHORTENER,
    SLOW_S,
    Link,
    Sites,
    build,
    edited,
)
from pipeline.demo.web import EmbeddedWeb
from support.patience import patient

pytestmark = pytest.mark.slow(8)


@pytest.fixture(scope="module")
def web(sites: Sites) -> Iterator[EmbeddedWeb]:
    with EmbeddedWeb(sites) as served:
        yield served


def get(web: EmbeddedWeb, url: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    host, slash, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=patient())
    connection.request("GET", slash + path, headers={"Host": host, **headers})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def links(sites: Sites, kind: str) -> list[Link]:
    return [link for link in sites.links if link.kind == kind]


def test_at_least_300_distinct_pages_are_served(web: EmbeddedWeb, sites: Sites) -> None:
    bodies = {get(web, link.url)[1] for link in links(sites, "page")[:320]}
    assert len(bodies) >= 300


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *(("duplicate", 200), ("mirror", 200), ("redirect", 301), ("moved", 302), ("loop", 302)),
        *(("missing", 404), ("gone", 410), ("error", 500), ("forbidden", 200), ("empty", 200)),
        *(("huge", 200), ("document", 200), ("picture", 200)),
    ],
)
def test_every_kind_of_link_answers_as_it_should(
    web: EmbeddedWeb, sites: Sites, kind: str, status: int
) -> None:
    assert links(sites, kind)
    for link in links(sites, kind):
        assert get(web, link.url)[0].status == status, link.url


def test_the_slow_page_comes_late_and_whole(web: EmbeddedWeb, sites: Sites) -> None:
    (slow,) = links(sites, "slow")
    started = time.monotonic()
    response, body = get(web, slow.url)
    assert time.monotonic() - started >= SLOW_S
    assert (response.status, b"<h1>" in body) == (200, True)


def test_robots_txt_forbids_the_one_page(web: EmbeddedWeb) -> None:
    assert (
        f"Disallow: {FORBIDDEN.rpartition('/')[0]}/".encode() in get(web, f"http://{LIBRARY}/robots.txt")[1]
    )
    assert get(web, f"http://{SHORTENER}/robots.txt")[0].status == 404


def test_redirects_stay_on_the_site_and_leave_it(web: EmbeddedWeb, sites: Sites) -> None:
    for link in links(sites, "redirect"):
        location = get(web, link.url)[0].headers["Location"]
        host = link.url.removeprefix("http://").partition("/")[0]
        assert get(web, f"http://{host}{location}")[0].status == 200
        assert f"http://{host}{location}" not in {other.url for other in sites.links}
    for link in links(sites, "moved"):
        assert get(web, get(web, link.url)[0].headers["Location"])[0].status == 200


def test_mirrors_are_exact_copies_and_near_ones(web: EmbeddedWeb, sites: Sites) -> None:
    for kind, lowest, highest in (("duplicate", 1.0, 1.0), ("mirror", 0.85, 0.9999)):
        for link in links(sites, kind)[:8]:
            original = link.url.removeprefix(f"http://{MIRROR}/").partition("/")[2]
            ours, theirs = (shingles(get(web, url)[1]) for url in (link.url, f"http://{original}"))
            assert lowest <= len(ours & theirs) / len(ours | theirs) <= highest, link.url


def shingles(body: bytes) -> set[bytes]:
    words = body.split()
    return {b" ".join(words[n : n + 5]) for n in range(len(words) - 4)}


def test_pages_are_compressed_for_who_asks(web: EmbeddedWeb, sites: Sites) -> None:
    url = links(sites, "page")[0].url
    response, body = get(web, url, **{"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == get(web, url)[1]


def test_the_huge_page_is_over_the_limit_and_the_blank_one_says_nothing(sites: Sites) -> None:
    assert len(sites.answers[LIBRARY, "/all.html"].body) > HUGE_BYTES
    assert sites.answers[LIBRARY, "/blank.html"].body == b"<!DOCTYPE html><title>Blank</title>"


def test_requests_are_remembered_with_host_path_and_agent(few_pages: list[DocPage]) -> None:
    with EmbeddedWeb(build(few_pages)) as web:
        get(web, f"http://{LIBRARY}{FORBIDDEN}", **{"User-Agent": "rude/1.0"})
        get(web, "http://unknown.test/x")
        seen = [(r.url, r.status, r.agent) for r in web.requests]
    assert seen == [(f"http://{LIBRARY}{FORBIDDEN}", 200, "rude/1.0"), ("http://unknown.test/x", 404, "")]


def test_the_web_is_gone_after_its_context(few_pages: list[DocPage]) -> None:
    with EmbeddedWeb(build(few_pages)) as web:
        pass
    with pytest.raises(ConnectionRefusedError):
        get(web, f"http://{LIBRARY}/page1.html")


def test_an_edit_changes_text_and_no_markup() -> None:
    html = '<a href="/the/the">the</a>' * 24
    assert Counter(edited(html).split('">')[0] for _ in "x") == {'<a href="/the/the': 1}
    assert edited(html).count(">this<") == 2
    assert edited(html).count('href="/the/the"') == 24
