"""Whose turn it is: many sites at once, each by one owner from its first page to its last."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from dataprep.crawl.client import Client
from dataprep.crawl.outcomes import is_temporary
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.revisits import Stored
from dataprep.crawl.robots import Robots
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Target
from dataprep.crawl.visit import Visit, visit

Visitor = Callable[..., Awaitable[Visit]]
"""What visits a target, called as `visit` is."""

Busy = Callable[[str], bool]
"""Whether another process is asking a site."""


def nobody(site: str) -> bool:
    """The `Busy` of a process that crawls alone: no other process sends requests to a site."""
    return False


@dataclass(eq=False)
class Site:
    """The targets of one site in their order.

    failures: temporary ones in a row, up to now. taken: how many targets have had their turn, of which the
    first came at `began` (in the event loop's seconds). later: links of the site in a later partition.
    """

    name: str
    targets: deque[Target] = field(default_factory=deque)
    failures: int = 0
    taken: int = 0
    began: float = 0.0
    later: int = 0

    def note(self, outcome: str) -> None:
        """Count failures in a row, to see when a site should be left alone."""
        self.failures = self.failures + 1 if is_temporary(outcome) else 0


@dataclass(eq=False)
class Queue:
    """Sites that wait, sites that are asked, and when (by the event loop) all must have begun."""

    waiting: deque[Site]
    owned: set[Site] = field(default_factory=set)
    deadline: float | None = None


def by_site(targets: Iterable[Target], earlier: Iterable[tuple[str, str]]) -> list[Site]:
    """Group targets by site, the longest queues first, since they decide when the crawl ends.

    earlier: (site, outcome) of what an attempt before this one finished, in its order, so that a site's
    failures in a row survive a restart.
    """
    sites: dict[str, Site] = {}
    for target in targets:
        sites.setdefault(target.site, Site(target.site)).targets.append(target)
    for name, outcome in earlier:
        if name in sites:
            sites[name].note(outcome)
    return sorted(sites.values(), key=lambda site: -len(site.targets))


async def crawl(
    queue: Queue,
    client: Client,
    settings: CrawlSettings,
    *,
    stored: Stored,
    done: Callable[[Visit], None],
    lines: asyncio.Semaphore,
    visitor: Visitor = visit,
    busy: Busy = nobody,
) -> None:
    """Visit every target; `done` is called once for each, in the event loop, as soon as it has ended.

    A site that is crawled takes one of `lines`, which all queues of the process share; so what is held in
    memory (queues aside) grows with their number, never with that of the targets. `stored` is what need not
    come again. The targets of sites that are `busy` are deferred.
    """
    now = asyncio.get_running_loop().time
    deadline = None if settings.hours is None else now() + settings.hours * 3600
    queue.deadline = deadline

    def over() -> bool:
        return deadline is not None and now() >= deadline

    async def line_of_work() -> None:
        while queue.waiting:
            async with lines:
                if not queue.waiting:
                    return
                site = queue.waiting.popleft()
                if busy(site.name):
                    for target in site.targets:
                        done(Visit.deferred(target, "a crawl is asking the site"))
                else:
                    await own(site)

    async def own(site: Site) -> None:
        site.began, pace = now(), Pace(settings)
        queue.owned.add(site)
        robots = Robots(client, pace, settings)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(settings.site_concurrency, len(site.targets))):
                lanes.create_task(work(site, pace, robots))
        queue.owned.remove(site)

    async def work(site: Site, pace: Pace, robots: Robots) -> None:
        while site.targets:
            target = site.targets.popleft()
            site.taken += 1
            if over():
                done(Visit.deferred(target, "the time budget was used up"))
            elif site.failures >= settings.max_site_failures:
                done(Visit.deferred(target, "the site kept failing"))
            else:
                result = await visitor(
                    target,
                    client,
                    pace=pace,
                    robots=robots,
                    stored=stored,
                    max_redirects=settings.max_redirects,
                )
                site.note(result.outcome)
                done(result)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(settings.concurrency, len(queue.waiting))):
            workers.create_task(line_of_work())
