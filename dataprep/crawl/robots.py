"""What a host asks of crawlers: its robots.txt (RFC 9309; unreachable means no) and its tdmrep.json."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from dataprep.crawl.client import Client
from dataprep.crawl.host_files import host_file
from dataprep.crawl.optout import Reservations
from dataprep.crawl.outcomes import NOBODY_THERE, NotFetched
from dataprep.crawl.path_patterns import path_of
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.robots_txt import RobotsTxt
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.training_crawlers import names


class Rules:
    """The rules of one host's robots.txt for our agent.

    training_crawlers: names whose exclusion holds for us, too, unless a group is for our agent by name.
    """

    def __init__(self, robots: RobotsTxt, agent: str, training_crawlers: Sequence[str] = ()) -> None:
        self.group = robots.of(agent)
        heard = [] if robots.names(agent) else training_crawlers
        self._others = {name: robots.of(name) for name in heard if robots.names(name)}

    def check(self, url: str) -> None:
        """Raise NotFetched when a URL must not be fetched, or its page not be trained on.

        The detail of either is the signal against training.
        """
        path = path_of(url)
        signal = self.group.opt_out(path) or self._shut_out(path)
        if not self.group.allows(path):
            raise NotFetched("robots_denied", signal)
        if signal:
            raise NotFetched("opted_out", signal)

    def _shut_out(self, path: str) -> str:
        shut_out = (name for name, group in self._others.items() if not group.allows(path))
        return next((f"robots.txt Disallow: {name}" for name in shut_out), "")


class Robots:
    """The rules of a site's hosts; each host is asked once for each of its files, whatever the answer."""

    def __init__(self, client: Client, pace: Pace, settings: CrawlSettings) -> None:
        self._client = client
        self._pace = pace
        self._agent = settings.agent
        self._training_crawlers = names(settings.training_crawlers)
        self._known: dict[str, Rules | NotFetched] = {}
        self._reserved: dict[str, Reservations] = {}
        self._asking = asyncio.Lock()

    async def check(self, url: str) -> None:
        """Raise NotFetched unless the URL may be fetched: denied, opted out of training, or not known yet."""
        rules = await self.rules(url)
        rules.check(url)
        origin = _origin(url)
        if origin not in self._reserved:  # asked only now: most dead hosts do not get this far
            async with self._asking:
                if origin not in self._reserved:
                    self._reserved[origin] = await self._reservations(origin)
        if self._reserved[origin].reserve(url):
            raise NotFetched("opted_out", "tdmrep.json")

    async def rules(self, url: str) -> Rules:
        """The rules for a URL's host; raises NotFetched while they are unknown (section 2.3.1.4)."""
        origin = _origin(url)
        if origin not in self._known:
            async with self._asking:
                if origin not in self._known:
                    self._known[origin] = await self._fetch(origin)
        known = self._known[origin]
        if isinstance(known, NotFetched):
            # A fresh one each time: a stored exception would gather the traceback of every page.
            raise NotFetched(known.outcome, known.detail, status=known.status)
        return known

    async def _fetch(self, origin: str) -> Rules | NotFetched:
        url = f"{origin}/robots.txt"
        try:
            robots = RobotsTxt.parse(await host_file(url, self._client, self._pace))
        except NotFetched as failure:
            if failure.outcome in NOBODY_THERE:
                return failure
            return NotFetched("robots_unavailable", f"{url}: {failure.outcome} {failure.detail}".strip())
        rules = Rules(robots, self._agent, self._training_crawlers)
        self._pace.slow_to(rules.group.crawl_delay_s or 0)
        return rules

    async def _reservations(self, origin: str) -> Reservations:
        """What a host's tdmrep.json reserves. A host that does not answer has, by the protocol, none."""
        try:
            text = await host_file(f"{origin}/.well-known/tdmrep.json", self._client, self._pace)
        except NotFetched:
            return Reservations()
        return Reservations.parse(text)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
