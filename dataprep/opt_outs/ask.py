"""Ask sites again, as politely as the crawl: the same pace, limits and robots.txt.

The robots.txt and the tdmrep.json of a host hold for all its pages. Headers and meta elements stand in pages,
so a few pages of each host are fetched, too, and all pages of a host where one of these opts out.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from dataprep.crawl.client import Client
from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.partition import crawl_queue, prepared
from dataprep.crawl.rate_limit import Pace
from dataprep.crawl.revisits import Stored
from dataprep.crawl.robots import Robots
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.sites import Busy, Queue, by_site, nobody
from dataprep.crawl.targets import Target
from dataprep.crawl.visit import Visit, visit
from dataprep.errors import DataError

KEPT = timedelta(days=7)
"""How old the first answer of a stopped check may be; an older check begins anew."""


class Question(msgspec.Struct, frozen=True):
    """The settings of a check and its beginning (UTC): the first line of its journal."""

    began: datetime
    agent: str
    training_crawlers: int | None
    pages: int


class Answer(msgspec.Struct, frozen=True):
    """What became of a page (`outcomes.OUTCOMES`); "ok" if nothing was found against it. signal: against
    training, "" if there is none."""

    url_key: str
    site: str
    outcome: str
    signal: str


def ask(
    targets: Sequence[Target],
    settings: CrawlSettings,
    pages: int,
    *,
    journal: Path,
    busy: Busy = nobody,
    tick: Callable[[int], None],
) -> tuple[Question, dict[bytes, Answer]]:
    """Ask about pages, or go on where an earlier call was stopped; gives the answers by url_key.

    pages: how many of each host are asked for. busy: which sites are left for another check. What had no turn
    (`deferred`) stays out of the journal.
    """
    tls = prepared(settings)
    question = Question(datetime.now(UTC), settings.agent, settings.training_crawlers, pages)
    with _Journal(journal, question) as answers:
        wanted = {target.url_key: target for target in targets}
        found = {key: answer for key, answer in answers.adopted.items() if key in wanted}
        tick(len(found))

        def done(visited: Visit) -> None:
            target = visited.target
            signal = visited.detail if visited.outcome in ("opted_out", "robots_denied") else ""
            answer = Answer(target.url_key.hex(), target.site, visited.outcome, signal)
            found[target.url_key] = answer
            if visited.outcome != "deferred":
                answers.append(answer)
            tick(1)

        rest = [target for key, target in wanted.items() if key not in found]
        earlier = [(answer.site, answer.outcome) for answer in found.values()]
        crawl_queue(
            Queue(deque(by_site(rest, earlier))),
            settings,
            tls,
            stored=Stored(),
            done=done,
            visitor=_Visitor(pages, wanted, answers.adopted),
            busy=busy,
        )
        return answers.question, found


class _Visitor:
    """Visits the pages of a host one after the other, and after enough of them reads robots.txt and
    tdmrep.json alone."""

    def __init__(self, pages: int, targets: dict[bytes, Target], earlier: dict[bytes, Answer]) -> None:
        self._pages = pages
        self._asked: Counter[str] = Counter()
        self._answers: dict[str, Visit] = {}
        self._opted_out: set[str] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        for key in earlier.keys() & targets.keys():
            answer, host = earlier[key], _host(targets[key])
            self._asked[host] += answer.outcome != "robots_denied" and not _of_host(answer.signal)
            if answer.outcome == "opted_out" and not _of_host(answer.signal):
                self._opted_out.add(host)

    async def __call__(
        self,
        target: Target,
        client: Client,
        *,
        pace: Pace,
        robots: Robots,
        stored: Stored,
        max_redirects: int,
    ) -> Visit:
        """As `visit`."""
        host = _host(target)
        try:
            await robots.check(target.url)
        except NotFetched as failure:
            return Visit(target=target, outcome=failure.outcome, final_url=target.url, detail=failure.detail)
        async with self._turns[host]:  # the next page is fetched or not by the signal of this one
            if earlier := self._answers.get(target.url):  # another link led there, too
                return replace(earlier, target=target)
            if self._asked[host] >= self._pages and host not in self._opted_out:
                return Visit(target=target, outcome="ok", final_url=target.url)
            self._asked[host] += 1
            found = await visit(
                target, client, pace=pace, robots=robots, stored=stored, max_redirects=max_redirects
            )
            if found.outcome == "opted_out" and not _of_host(found.detail):
                self._opted_out.add(host)
            self._answers[target.url] = replace(found, exchanges=[])
            return found


def _host(target: Target) -> str:
    return urlsplit(target.url).netloc


def _of_host(signal: str) -> bool:
    """Whether a signal stands in a file of the host, which holds for all its pages."""
    return signal.startswith(("robots.txt", "tdmrep.json"))


class _Journal:
    """The question and, line by line, the answers: what a kill leaves is adopted, but for half a line."""

    def __init__(self, path: Path, question: Question) -> None:
        self.question = question
        self.adopted: dict[bytes, Answer] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        whole = self._adopt(lines)
        self._file = path.open("r+b" if whole else "wb", buffering=0)
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self.append(question)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, line: Question | Answer) -> None:
        """Write a line at the end."""
        try:
            self._file.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            raise DataError(
                f"{self._file.name}: {error.strerror}; make room and run again to go on"
            ) from error

    def _adopt(self, lines: list[bytes]) -> int:
        """Take over the answers to the same question; gives how many bytes of the journal stand."""
        try:
            begun = msgspec.json.decode(lines[0], type=Question) if lines else None
        except msgspec.DecodeError:
            return 0
        now = self.question
        if begun is None or msgspec.structs.replace(now, began=begun.began) != begun:
            return 0
        if now.began - begun.began > KEPT:
            return 0
        self.question, whole = begun, len(lines[0]) + 1
        for line in lines[1:]:
            try:
                answer = msgspec.json.decode(line, type=Answer)
            except msgspec.DecodeError:
                break
            self.adopted[bytes.fromhex(answer.url_key)] = answer
            whole += len(line) + 1
        return whole
