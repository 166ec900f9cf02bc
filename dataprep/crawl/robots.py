"""What a host asks of crawlers: its robots.txt (RFC 9309; unreachable means no) and its tdmrep.json."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from protego import Protego

from dataprep.crawl.client import Client
from dataprep.crawl.host_files import host_file
from dataprep.crawl.optout import Reservations
from dataprep.crawl.outcomes import NOBODY_THERE, NotFetched
from dataprep.crawl.rate_limit import Pace


@dataclass(frozen=True)
class Rules:
    """What one host allows our agent."""

    parsed: Protego
    agent: str

    def allows(self, url: str) -> bool:
        """Whether the URL may be fetched."""
        return bool(self.parsed.can_fetch(url, self.agent))


class Robots:
    """The rules of a site's hosts; each host is asked once for each of its files, whatever the answer."""

    def __init__(self, client: Client, pace: Pace, agent: str) -> None:
        self._client = client
        self._pace = pace
        self._agent = agent
        self._known: dict[str, Rules | NotFetched] = {}
        self._reserved: dict[str, Reservations] = {}
        self._asking = asyncio.Lock()

    async def check(self, url: str) -> None:
        """Raise NotFetched unless the URL may be fetched: denied, opted out of training, or not known yet."""
        rules = await self.rules(url)
        if not rules.allows(url):
            raise NotFetched("robots_denied")
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
            parsed = Protego.parse(await host_file(url, self._client, self._pace))
        except NotFetched as failure:
            if failure.outcome in NOBODY_THERE:
                return failure
            return NotFetched("robots_unavailable", f"{url}: {failure.outcome} {failure.detail}".strip())
        delay_s = parsed.crawl_delay(self._agent)
        if delay_s is not None:
            self._pace.slow_to(float(delay_s))
        return Rules(parsed, self._agent)

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
