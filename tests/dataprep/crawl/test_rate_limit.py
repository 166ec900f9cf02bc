from __future__ import annotations

import asyncio
import itertools
import random
import selectors
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.settings import CrawlSettings
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


class Ahead(selectors.DefaultSelector):
    """Waits for nothing: the clock of its loop jumps to the end of each wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0
        return super().select(0)


def tries(outcome: str, retry_after_s: float = 0.0, **settings: float) -> list[float]:
    """When a site is asked for what always fails, in seconds."""
    clock = Ahead()
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now  # type: ignore[method-assign]
    times = []

    async def request() -> None:
        times.append(clock.now)
        raise NotFetched(outcome, retry_after_s=retry_after_s)

    pace = Pace(CrawlSettings.model_validate({"delay_s": 0, "max_delay_s": 1000, **settings}))
    with closing(loop), pytest.raises(NotFetched):
        loop.run_until_complete(pace.ask(request))
    return times


def test_a_pause_before_a_retry_doubles_with_each_and_varies_by_half() -> None:
    random.seed(1)
    pauses = []
    for _ in range(200):
        times = tries("timeout", retries=3, backoff_s=2)
        pauses += [(later - earlier) / 2 ** (n + 1) for n, (earlier, later) in enumerate(pairwise(times))]
    assert len(pauses) == 600
    assert 0.5 <= min(pauses) < 0.51
    assert 1.49 < max(pauses) <= 1.5 + 1e-6
    assert sum(pauses) / len(pauses) == pytest.approx(1, abs=0.05)


def test_pauses_are_as_long_as_is_asked_for_up_to_the_longest() -> None:
    assert tries("server_error", retries=2, backoff_s=2, retry_after_s=30) == pytest.approx([0, 30, 60])
    assert tries("server_error", retries=1, backoff_s=1000, max_delay_s=7) == pytest.approx([0, 7])
    assert tries("timeout", retries=0, backoff_s=2) == [0]
    assert tries("not_found", retries=2, backoff_s=2) == [0], "it would fail again"
