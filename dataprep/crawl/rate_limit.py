"""The pace at which one site is asked: one delay, one queue, whatever the number of its hosts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dataprep.crawl.outcomes import NotFetched, is_temporary
from dataprep.crawl.settings import CrawlSettings

T = TypeVar("T")


class Pace:
    """Spaces the requests to a site: each begins `delay_s` after the one before it has begun and ended."""

    def __init__(self, settings: CrawlSettings) -> None:
        self._retries = settings.retries
        self._backoff_s = settings.backoff_s
        self._longest_s = settings.max_delay_s
        self._delay_s = settings.delay_s
        self._places = asyncio.Semaphore(settings.site_concurrency)
        self._gate = asyncio.Lock()
        self._next = 0.0

    def slow_to(self, delay_s: float) -> None:
        """Honour a Crawl-delay, up to the longest that settings allow; a pace never quickens."""
        self._delay_s = max(self._delay_s, min(delay_s, self._longest_s))

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make a request when its turn has come; again, after a pause of the whole site, if it fails
        for a temporary reason. Raises the last NotFetched."""
        attempt = 0
        while True:
            async with self._places:
                await self._turn()
                try:
                    return await request()
                except NotFetched as failure:
                    self._pause(failure.retry_after_s)
                    if not is_temporary(failure.outcome) or attempt == self._retries:
                        raise
                    self._pause(self._backoff_s * 2**attempt * random.uniform(0.5, 1.5))
                finally:
                    self._pause(self._delay_s)
            attempt += 1

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._gate:
            while (wait_s := self._next - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            self._next = loop.time() + self._delay_s

    def _pause(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + min(seconds, self._longest_s)
        self._next = max(self._next, until)
