"""robots.txt by RFC 9309: once per host, unreachable means no."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from protego import Protego

from dataprep.crawl.client import Client, content_encoding, read_up_to, retry_after
from dataprep.crawl.encodings import BadEncoding, decoder
from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.pace import Pace
from dataprep.crawl.redirects import REDIRECT_STATUSES, followed

ROBOTS_BYTES = 500 << 10
"""What a crawler must at least read (RFC 9309, section 2.5); the rest is ignored."""
MAX_REDIRECTS = 5
"""RFC 9309, section 2.3.1.2."""

_NOBODY_THERE = frozenset(
    "no_such_host dns_error connect_error proxy_error tls_error refused_address refused_port bad_url".split()
)
"""Failures that any page of the host would meet as well: they are the page's outcome, too."""


@dataclass(frozen=True)
class Rules:
    """What one host allows our agent."""

    parsed: Protego
    agent: str

    def allows(self, url: str) -> bool:
        """Whether the URL may be fetched."""
        return bool(self.parsed.can_fetch(url, self.agent))


class Robots:
    """The rules of a site's hosts; each host is asked once, whatever the answer."""

    def __init__(self, client: Client, pace: Pace, agent: str) -> None:
        self._client = client
        self._pace = pace
        self._agent = agent
        self._known: dict[str, Rules | NotFetched] = {}
        self._asking = asyncio.Lock()

    async def rules(self, url: str) -> Rules:
        """The rules for a URL's host; raises NotFetched while they are unknown (section 2.3.1.4)."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        async with self._asking:
            if origin not in self._known:
                self._known[origin] = await self._fetch(origin)
        known = self._known[origin]
        if isinstance(known, NotFetched):
            # A fresh one each time: a stored exception would gather the traceback of every page.
            raise NotFetched(known.outcome, known.detail, status=known.status)
        return known

    async def _fetch(self, origin: str) -> Rules | NotFetched:
        own = url = f"{origin}/robots.txt"
        text = ""
        try:
            for _ in range(MAX_REDIRECTS + 1):
                text, location = await self._pace.ask(lambda url=url: self._read(url))  # type: ignore[misc]
                if not location:
                    break
                url = followed(url, location)
            parsed = Protego.parse(text)
        except NotFetched as failure:
            if failure.outcome in _NOBODY_THERE and url == own:
                return failure
            return NotFetched("robots_unavailable", f"{url}: {failure.outcome} {failure.detail}".strip())
        delay_s = parsed.crawl_delay(self._agent)
        if delay_s is not None:
            self._pace.slow_to(float(delay_s))
        return Rules(parsed, self._agent)

    async def _read(self, url: str) -> tuple[str, str]:
        """The text of a robots.txt and the address that it redirects to, one of them empty."""
        async with self._client.response(url, "identity") as response:
            location = response.headers.get("Location", "")
            if response.status in REDIRECT_STATUSES and location:
                return "", location
            # 429 asks for patience, which "4xx: crawl as you like" (section 2.3.1.3) would not show.
            if response.status >= 500 or response.status == 429:
                raise NotFetched(
                    "server_error",
                    f"HTTP {response.status}",
                    status=response.status,
                    retry_after_s=retry_after(response.headers.get("Retry-After", "")),
                )
            if response.status >= 300:
                return "", ""
            body, _ = await read_up_to(response, ROBOTS_BYTES)
            return _text(body, content_encoding(response)), ""


def _text(body: bytes, encoding: str) -> str:
    """Decode a robots.txt. A byte order mark must go: it would hide the first line, often `User-agent: *`."""
    text = bytearray()
    try:
        for piece in decoder(encoding).decode(body):
            text += piece
            if len(text) >= ROBOTS_BYTES:
                break
    except BadEncoding as error:
        raise NotFetched("bad_encoding", str(error)) from None
    return bytes(text[:ROBOTS_BYTES]).decode("utf-8-sig", errors="replace")
