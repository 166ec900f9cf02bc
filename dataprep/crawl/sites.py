"""Whose turn it is: many sites at once, each by one owner from its first page to its last."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from dataprep.crawl.client import Client
from dataprep.crawl.outcomes import is_temporary
from dataprep.crawl.ownership import Owners, Ownership
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.revisits import Stored
from dataprep.crawl.robots import Robots
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Target
from dataprep.crawl.visit import Visit, visit

Visitor = Callable[..., Awaitable[Visit]]
"""What visits a target, called as `visit` is."""

LOOK_AGAIN_S = 0.5
"""How often a site that another process owns is tried."""


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
    """Sites that wait for an owner, sites that have one, and when (by the event loop) all must have begun.

    elsewhere: sites that another process owns.
    """

    waiting: deque[Site]
    elsewhere: deque[Site] = field(default_factory=deque)
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
    owners: Owners,
    stored: Stored,
    done: Callable[[Visit], None],
    lines: asyncio.Semaphore,
    visitor: Visitor = visit,
) -> None:
    """Visit every target; `done` is called once for each, in the event loop, as soon as it has ended.

    A site that is crawled takes one of `lines`, which all queues of the process share; so what is held in
    memory (queues aside) grows with their number, never with that of the targets. Sites that another process
    owns come last; those that it still owns after `settings.site_lock_wait_s` are deferred. `stored` is what
    need not come again.
    """
    now = asyncio.get_running_loop().time
    deadline = None if settings.hours is None else now() + settings.hours * 3600
    queue.deadline = deadline

    def over() -> bool:
        return deadline is not None and now() >= deadline

    async def free_ones() -> None:
        while queue.waiting:
            async with lines:
                if not queue.waiting:
                    return
                site = queue.waiting.popleft()
                if ownership := owners.take(site.name):
                    await own(site, ownership, Pace(settings))
                else:
                    queue.elsewhere.append(site)

    async def busy_ones() -> None:
        while queue.elsewhere:
            site = queue.elsewhere.popleft()
            patience = now() + settings.site_lock_wait_s
            while not (ownership := owners.take(site.name)) and now() < patience and not over():
                await asyncio.sleep(LOOK_AGAIN_S)
            if ownership:
                pace = Pace(settings)
                pace.rest()  # the process before us may have asked a moment ago
                async with lines:
                    await own(site, ownership, pace)
            else:
                for target in site.targets:
                    done(Visit.deferred(target, "another process is at the site"))

    async def own(site: Site, ownership: Ownership, pace: Pace) -> None:
        site.began = now()
        queue.owned.add(site)
        robots = Robots(client, pace, settings)
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(min(settings.site_concurrency, len(site.targets))):
                    lanes.create_task(work(site, pace, robots))
        finally:
            ownership.release()
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

    for line_of_work, sites in ((free_ones, queue.waiting), (busy_ones, queue.elsewhere)):
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(settings.concurrency, len(sites))):
                workers.create_task(line_of_work())
