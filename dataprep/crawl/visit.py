"""One target from its URL to a page: robots.txt, request, redirects inside the site."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from dataprep.corpus.urls import site_of
from dataprep.crawl.archive import following
from dataprep.crawl.client import Client, Exchange
from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.revisits import Stored
from dataprep.crawl.robots import Robots
from dataprep.crawl.targets import Target


@dataclass
class Visit:
    """What became of a target: its exchanges in order, the last of them the page if `outcome` is "ok"."""

    target: Target
    outcome: str
    status: int
    final_url: str
    detail: str = ""
    exchanges: list[Exchange] = field(default_factory=list)


async def visit(
    target: Target, client: Client, pace: Pace, robots: Robots, stored: Stored, max_redirects: int
) -> Visit:
    """Fetch a target. Every failure is an outcome; nothing that a server does is raised."""
    url, exchanges = target.url, list[Exchange]()
    seen, follow = {url}, following(target)
    try:
        while True:
            await robots.check(url)
            exchange = await pace.ask(partial(client.page, url, stored.at(url)))
            exchanges.append(exchange)
            if not exchange.location:
                return Visit(target, "ok", exchange.status, url, exchanges=exchanges)
            onward = follow(url, exchange.location)
            client.refuse_inward(onward)
            client.refuse_forgotten(onward)
            if site_of(onward) != target.site:
                return Visit(target, "moved", exchange.status, onward, exchanges=exchanges)
            if onward in seen:
                raise NotFetched("redirect_loop", f"back to {onward[:200]}", status=exchange.status)
            if len(exchanges) > max_redirects:
                raise NotFetched("redirect_loop", f"over {max_redirects} redirects", status=exchange.status)
            seen.add(onward)
            url = onward
    except NotFetched as failure:
        return Visit(target, failure.outcome, failure.status, url, failure.detail, exchanges)
