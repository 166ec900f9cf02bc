"""One partition of step `fetch`: targets in, one row for each out, pages in WARC files beside a journal."""

from __future__ import annotations

import asyncio
import gc
import resource
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from dataprep.crawl.client import Client, Permit, always
from dataprep.crawl.connect import tls_context
from dataprep.crawl.journal import Attempt
from dataprep.crawl.progress import Watch
from dataprep.crawl.revisits import Stored
from dataprep.crawl.routes import destination, parse_route
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.sites import Busy, Queue, Visitor, by_site, crawl, nobody
from dataprep.crawl.targets import Fetch, Target
from dataprep.crawl.visit import Visit, visit
from dataprep.errors import DataError
from dataprep.ip_addresses import is_loopback_host

__all__ = ["CrawlSettings", "Fetch", "Target", "fetch_part"]

R = TypeVar("R")

COLLECT_EVERY = 20_000
"""New objects after which cycles are looked for; with Python's 700 this takes 4 % of a crawl's time."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the parts share that are crawled in one event loop.

    lines: one for each site that may be crawled at once. watch: what is shown their queues. permit: raises
    when this process may store nothing more.
    """

    client: Client
    lines: asyncio.Semaphore
    watch: Watch | None = None
    permit: Permit = always


@dataclass(frozen=True)
class Crawled:
    """A part that was crawled. rows: one for each target, in their order. asked: those of them that are new.
    attempt: the number of the attempt."""

    rows: list[Fetch]
    asked: list[Fetch]
    attempt: int


def fetch_part(
    name: str,
    targets: Sequence[Target],
    pages: Path,
    settings: CrawlSettings,
    tick: Callable[[Fetch], None],
    *,
    watch: Watch | None = None,
    earlier: Iterable[Fetch] = (),
) -> list[Fetch]:
    """Crawl one part in an event loop of its own, as `crawl_part` does."""

    async def crawl_it(shared: Shared) -> list[Fetch]:
        return (await crawl_part(name, targets, pages, settings, tick, shared, earlier=earlier)).rows

    return run_crawl(crawl_it, settings, prepared(settings), watch)


async def crawl_part(
    name: str,
    targets: Sequence[Target],
    pages: Path,
    settings: CrawlSettings,
    tick: Callable[[Fetch], None],
    shared: Shared,
    *,
    earlier: Iterable[Fetch] = (),
    later: int = 0,
) -> Crawled:
    """Crawl targets into `pages/NAME-*.warc.gz`.

    Called again after a crash, it adopts what earlier attempts finished and fetches the rest; an attempt that
    still runs elsewhere is made to stop. `tick` is called once for each row: first for the adopted ones, then
    as targets end. `earlier` are pages that other parts have stored in `pages`: what has not changed since is
    not fetched again. later: links of the part's one site that a later part holds. Memory: the targets and
    rows of the part, and one page for each request under way.

    Raises DataError for settings that cannot work, a disk that cannot be written, and (as Superseded) when a
    newer attempt has taken over the part.
    """
    _refuse_without_contact(targets, settings)
    try:
        pages.mkdir(parents=True, exist_ok=True)
        attempt = Attempt(pages, name, user_agent=settings.user_agent, warc_bytes=settings.max_warc_bytes)
    except OSError as error:
        raise _unwritable(pages, error) from error
    try:
        attempt.stored.note(earlier)
        wanted = {target.url_key: target for target in targets}
        rows, asked = dict[bytes, Fetch](), list[Fetch]()
        for row in await asyncio.to_thread(attempt.adopt):
            if row.url_key in wanted and row.url_key not in rows:
                rows[row.url_key] = row
                tick(row)
                if shared.watch:
                    shared.watch.adopt(row)
        rest = [target for key, target in wanted.items() if key not in rows]
        queue = Queue(deque(by_site(rest, [(row.site, row.outcome) for row in rows.values()])))
        for site in queue.waiting:
            site.later = later

        def done(visit: Visit) -> None:
            shared.permit()
            row = attempt.finish(visit)
            rows[row.url_key] = row
            asked.append(row)
            tick(row)

        with shared.watch.opened(queue) if shared.watch else nullcontext():
            await crawl(
                queue,
                shared.client,
                settings,
                stored=attempt.stored,
                done=done,
                lines=shared.lines,
            )
    except BaseException:
        with suppress(OSError):  # what went wrong first is what counts
            attempt.close()
        raise
    await asyncio.to_thread(attempt.close)  # it waits for the disk
    return Crawled([rows[target.url_key] for target in targets], asked, attempt.number)


def prepared(settings: CrawlSettings) -> ssl.SSLContext:
    """Make this process fit for a crawl; raises DataError for settings that cannot work."""
    tls = tls_context(settings.ca_file)
    _allow_sockets(settings.concurrency * settings.site_concurrency, settings.partitions)
    return tls


def crawl_queue(
    queue: Queue,
    settings: CrawlSettings,
    tls: ssl.SSLContext,
    *,
    stored: Stored,
    done: Callable[[Visit], None],
    visitor: Visitor = visit,
    busy: Busy = nobody,
) -> None:
    """Visit all targets of a queue in an event loop of their own, as `sites.crawl` does; tls: `prepared`."""

    async def crawl_it(shared: Shared) -> None:
        await crawl(
            queue,
            shared.client,
            settings,
            stored=stored,
            done=done,
            lines=shared.lines,
            visitor=visitor,
            busy=busy,
        )

    run_crawl(crawl_it, settings, tls)


def run_crawl(
    work: Callable[[Shared], Awaitable[R]],
    settings: CrawlSettings,
    tls: ssl.SSLContext,
    watch: Watch | None = None,
    permit: Permit = always,
) -> R:
    """Do some work in an event loop with one client; raises the first of several errors.

    `watch` shows it. permit: called before each request, it raises when nothing more may be asked.
    """

    async def run() -> R:
        following = watch.following if watch else lambda _: nullcontext()
        async with Client(settings, tls, permit=permit) as client, following(client):
            lines = asyncio.Semaphore(settings.concurrency)
            return await work(Shared(client=client, lines=lines, watch=watch, permit=permit))

    try:
        with _few_collections(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(run())
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _unwritable(pages: Path, error: OSError) -> DataError:
    return DataError(f"{pages}: cannot store pages: {error.strerror}")


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the collector of cycles look seldom: nearly all that a page leaves behind goes without it."""
    thresholds = gc.get_threshold()
    gc.set_threshold(COLLECT_EVERY, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _refuse_without_contact(targets: Sequence[Target], settings: CrawlSettings) -> None:
    """A crawler that webmasters cannot reach has no business on public servers."""
    routes = [parse_route(text) for text in settings.connect_to]
    if settings.contact:
        return
    for target in targets:
        parts = urlsplit(target.url)
        host, _ = destination(parts.hostname or "", parts.port or 0, routes)
        if not is_loopback_host(host):
            raise DataError(
                f"{target.url}: public hosts are crawled only with a contact address in the user agent; "
                "set `contact` to an e-mail address or a page that says who crawls and why"
            )


def _allow_sockets(requests: int, partitions: int) -> None:
    """Let every request have its socket and another that is kept alive; and every partition its journal and
    its WARC file.

    Raises DataError if it cannot be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * requests + 2 * partitions + 128
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise DataError(
            f"concurrency: {requests} requests at once need {needed} open files, but the limit is {hard}; "
            "lower it, or raise the limit (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, the standard loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the tasks beside it were only cancelled."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
