from __future__ import annotations

import itertools
from typing import Any

import pytest
from aiohttp import web

from support.patience import patient


def gaps(site: Any, host: str) -> list[float]:
    times = [hit.at for hit in site.hits if hit.host.endswith(host)]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.slow(1)
def test_a_site_is_asked_no_faster_than_its_delay_over_all_its_hosts(site: Any, crawl: Any) -> None:
    urls = [site.html(f"http://{host}a.test/{page}") for page in range(2) for host in ("", "www.")]
    crawl(*urls, delay_s=0.15)
    assert len(gaps(site, "a.test")) == 5
    assert min(gaps(site, "a.test")) >= 0.15


@pytest.mark.slow(1)
def test_the_delay_of_one_site_holds_up_no_other(site: Any, crawl: Any) -> None:
    urls = [site.html(f"http://site{number}.test/") for number in range(20)]
    delay_s = patient(0.6)
    crawl(*urls, delay_s=delay_s)
    assert site.hits[-1].at - site.hits[0].at < 20 * delay_s / 2


@pytest.mark.slow(1)
def test_several_requests_at_once_keep_the_delay_between_them(site: Any, crawl: Any) -> None:
    urls = [site.html(f"http://a.test/{page}") for page in range(5)]
    delay_s = patient(0.2)
    crawl(*urls, delay_s=delay_s, site_concurrency=4)
    assert min(gaps(site, "a.test")) >= delay_s / 2  # a busy machine may draw the spaced starts together


def test_crawl_delay_is_honoured_up_to_the_longest_allowed(site: Any, crawl: Any) -> None:
    site.html("http://a.test/robots.txt", "User-agent: *\nCrawl-delay: 0.2\n", Content_Type="text/plain")
    site.html("http://b.test/robots.txt", "User-agent: *\nCrawl-delay: 9999\n", Content_Type="text/plain")
    urls = [site.html(f"http://{name}.test/{page}") for name in "ab" for page in range(2)]
    crawl(*urls, max_delay_s=0.3)
    assert gaps(site, "a.test")[1] >= 0.2
    assert 0.3 <= gaps(site, "b.test")[1] < 9999


def test_retry_after_pauses_the_whole_site(site: Any, crawl: Any) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "1"})

    crawl(site.serve("http://a.test/1", busy), site.html("http://a.test/2"), max_delay_s=0.3)
    assert gaps(site, "a.test")[1] >= 0.3
