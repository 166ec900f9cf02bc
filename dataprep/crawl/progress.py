"""What a crawl is doing, for whoever looks: pace, outcomes, slowest sites, queue and the time that is left.

The crawl itself reports nothing but its rows. Once a second a `Watch` reads the queue as it stands, and hands
a `View` of it to the function that draws or logs it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataprep.crawl.estimate import Estimate
from dataprep.crawl.targets import Fetch

if TYPE_CHECKING:  # not at run time: with aiohttp, which only a crawl needs
    from dataprep.crawl.client import Client
    from dataprep.crawl.sites import Queue

LOOK_EVERY_S = 1.0
PACE_OVER_S = 30
"""The paces in a view are means over this time: long enough to read, short enough to show a stall."""
SLOWEST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SlowSite:
    """A site under way: URLs whose turn has not come, and how long the others took each, delays included."""

    name: str
    left: int
    seconds_per_url: float

    @property
    def time_left_s(self) -> float:
        """How long the site takes from now on at its own pace."""
        return self.left * self.seconds_per_url


@dataclass(frozen=True, slots=True)
class View:
    """A round of a crawl at one moment.

    done, total: URLs that have ended, those of earlier runs included, of all in the round.
    pages_per_s, urls_per_s: how many came as a page, and how many ended in any way, of late.
    slowest: sites under way, those that will end last first.
    time_left_s: what the pace of the whole and of the slowest site promise, at most until the time budget
    ends; None while there is nothing to judge by.
    elsewhere: partitions that other processes crawl. expected: in the first view, what was expected of the
    round before anything was asked.
    """

    title: str
    done: int
    total: int
    pages_per_s: float = 0.0
    urls_per_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[SlowSite, ...] = ()
    sites_waiting: int = 0
    sites_under_way: int = 0
    requests: int = 0
    elsewhere: int = 0
    time_left_s: float | None = None
    expected: Estimate | None = None

    @property
    def deferred(self) -> int:
        """URLs that are left for a later round."""
        return self.outcomes["deferred"]


Look = Callable[[View], None]


class Watch:
    """Counts the rows of a round, and while its parts are crawled shows a view of it once a second.

    queues: those of the parts that are open. elsewhere: partitions that other processes crawl.
    """

    def __init__(self, look: Look, title: str, total: int, expected: Estimate | None = None) -> None:
        self.queues: list[Queue] = []
        self.elsewhere = 0
        self._look = look
        self._title = title
        self._total = total
        self._expected = expected
        self._done = 0
        self._outcomes: Counter[str] = Counter()
        self._adopted: Counter[str] = Counter()

    def skip(self, outcomes: Counter[str]) -> None:
        """Count the rows of a part that an earlier run has committed."""
        self._outcomes += outcomes
        self._done += outcomes.total()

    def count(self, row: Fetch) -> None:
        """Count a URL that has ended."""
        self._outcomes[row.outcome] += 1
        self._done += 1

    def adopt(self, row: Fetch) -> None:
        """Note that a URL that was counted has ended in an earlier run: it does not quicken the pace."""
        self._adopted[row.outcome] += 1

    @asynccontextmanager
    async def following(self, client: Client) -> AsyncIterator[None]:
        """Show the crawl while the `with` body runs, and once more when it has ended."""
        now = asyncio.get_running_loop().time
        pace = _Pace()

        def look() -> None:
            adopted = self._adopted
            pace.note(now(), self._done - adopted.total(), self._outcomes["ok"] - adopted["ok"])
            self._look(self._view(client, pace, now()))
            self._expected = None

        async def keep_looking() -> None:
            while True:
                look()
                await asyncio.sleep(LOOK_EVERY_S)

        looking = asyncio.create_task(keep_looking())
        try:
            yield
            look()
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    @contextmanager
    def opened(self, queue: Queue) -> Iterator[None]:
        """Show the queue of a part, too, while the `with` body runs."""
        self.queues.append(queue)
        try:
            yield
        finally:
            self.queues.remove(queue)

    def _view(self, client: Client, pace: _Pace, now: float) -> View:
        slowest = sorted(
            (
                SlowSite(
                    name=site.name,
                    left=len(site.targets) + site.later,
                    seconds_per_url=(now - site.began) / site.taken,
                )
                for queue in self.queues
                for site in queue.owned
                if site.taken
            ),
            key=lambda site: (-site.time_left_s, -site.seconds_per_url, site.name),
        )
        left = self._total - self._done
        time_left_s = None
        if not left:
            time_left_s = 0.0
        elif pace.urls_per_s:
            time_left_s = max([left / pace.urls_per_s, *(site.time_left_s for site in slowest[:1])])
            for deadline in (queue.deadline for queue in self.queues if queue.deadline is not None):
                time_left_s = min(time_left_s, max(0.0, deadline - now))
        return View(
            title=self._title,
            done=self._done,
            total=self._total,
            pages_per_s=pace.pages_per_s,
            urls_per_s=pace.urls_per_s,
            outcomes=self._outcomes.copy(),
            slowest=tuple(slowest[:SLOWEST_SHOWN]),
            sites_waiting=sum(len(queue.waiting) for queue in self.queues),
            sites_under_way=sum(len(queue.owned) for queue in self.queues),
            requests=client.under_way,
            elsewhere=self.elsewhere,
            time_left_s=time_left_s,
            expected=self._expected,
        )


class _Pace:
    """What has ended per second, over the last PACE_OVER_S seconds."""

    def __init__(self) -> None:
        self._noted: deque[tuple[float, int, int]] = deque()

    def note(self, now: float, urls: int, pages: int) -> None:
        """Note how many had ended by now."""
        self._noted.append((now, urls, pages))
        while self._noted[-1][0] - self._noted[0][0] > PACE_OVER_S:
            self._noted.popleft()

    @property
    def urls_per_s(self) -> float:
        """URLs that ended in any way, per second."""
        return self._per_s(1)

    @property
    def pages_per_s(self) -> float:
        """URLs that ended as a page, per second."""
        return self._per_s(2)

    def _per_s(self, column: int) -> float:
        first, last = self._noted[0], self._noted[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds else 0.0
