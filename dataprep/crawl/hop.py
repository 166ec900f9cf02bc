"""One hop of a crawl: several of its partitions at once, each committed when all its links have ended.

Nothing but files goes from one partition to another, so any process can crawl any partition that may begin:
it needs the corpus, the increment and the names of the hop and the partition (`crawl_one`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.tombstones import REASON, Forgotten
from dataprep.crawl import archive, hop_plan
from dataprep.crawl.estimate import from_the_end
from dataprep.crawl.hop_plan import STEP, HopPlan, Partition
from dataprep.crawl.outcomes import is_temporary
from dataprep.crawl.partition import Shared, crawl_part, owners_at, prepared, run_crawl
from dataprep.crawl.progress import Look, Watch
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import SCHEMA, Fetch, Target, row
from dataprep.errors import DataError
from dataprep.store.files import Output, hash_file, publish_table
from dataprep.store.records import Record, commit, done, step_path

MEASURED_FROM = 100
"""Requests after which the time of their answers is measured, no longer assumed."""

R = TypeVar("R")
Row = dict[str, Any]
SettingsNow = Callable[[], CrawlSettings]
"""The settings of a call, with the hours that are left of its budget."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """A hop of an increment's crawl that is planned."""

    corpus: Corpus
    increment: Increment
    plan: HopPlan
    settings: SettingsNow

    def run(self, look: Look, title: str) -> None:
        """Crawl the partitions that are not done; those with the longest sites begin first."""
        partitions = self.plan.partitions
        ended = [
            record
            for each in partitions
            if (record := done(hop_plan.record_path(self.increment, each.name), self.plan.inputs))
        ]
        turns = _Turns(partitions, {record.part for record in ended})
        if not turns.left:
            return
        settings = self.settings()
        assumed = hop_plan.assume(self.increment, settings)
        expected = hop_plan.expected(self.corpus.root, self.plan, turns.left, assumed)
        watch = Watch(look, title, sum(each.targets.rows for each in partitions), expected)
        for record in ended:
            watch.skip(Counter({"ok": record.passed, **record.reasons}))

        async def crawl(shared: Shared) -> None:
            async with asyncio.TaskGroup() as group:
                for lane in range(min(settings.partitions, len(turns.left))):
                    group.create_task(self._work(lane, turns, shared))

        self.in_event_loop(crawl, watch)

    def in_event_loop(self, work: Callable[[Shared], Awaitable[R]], watch: Watch) -> R:
        """Do some work with what the partitions of the hop share."""
        settings = self._admitted()
        owners = owners_at(self.increment.path / "pages", settings)
        return run_crawl(work, settings, prepared(settings), owners, watch)

    async def crawl(self, partition: Partition, shared: Shared) -> Record:
        """Crawl one partition and commit its rows and WARC files."""
        settings, pages = self._admitted(), self.increment.path / "pages"
        loaded = await asyncio.to_thread(self._load, partition, settings.forgotten)
        tick = shared.watch.count if shared.watch else lambda _: None
        for fetch in loaded.forgotten:
            tick(fetch)
        fetched = await crawl_part(
            partition.name,
            loaded.targets,
            pages,
            settings,
            tick,
            shared,
            earlier=loaded.stored,
            later=self.plan.later(partition),
        )
        return await asyncio.to_thread(self._commit, partition, [*loaded.forgotten, *fetched], loaded.live)

    async def _work(self, lane: int, turns: _Turns, shared: Shared) -> None:
        while partition := turns.take(lane):
            await self.crawl(partition, shared)
            turns.end(partition)
            if shared.client.answers >= MEASURED_FROM:
                answer_s = shared.client.answered_s / shared.client.answers
                hop_plan.assume(self.increment, self.settings(), answer_s)

    def _admitted(self) -> CrawlSettings:
        settings = self.settings()
        return archive.admitted(settings, self.plan.archive) if self.plan.archive else settings

    def _load(self, partition: Partition, forgotten: Forgotten) -> _Loaded:
        """Read the files of a partition, and tell apart what was forgotten since they were written."""
        columns = hop_plan.read(self.corpus.root, partition.targets).to_pydict()
        found = _Loaded([], [], {}, self._stored(partition))
        for *fields, live in zip(*columns.values(), strict=True):
            target = Target(*fields)
            if not target.url or _is_forgotten(target, forgotten):
                gone = Fetch(url="", url_key=target.url_key, site="", outcome=REASON)
                found.forgotten.append(gone)
                continue
            found.targets.append(target)
            if live:
                found.live[target.url_key] = live
        return found

    def _stored(self, partition: Partition) -> list[Fetch]:
        """The pages of the partition's sites that this increment has stored."""
        if not partition.stored:
            return []
        rows = hop_plan.read(self.corpus.root, partition.stored).to_pylist()
        return [Fetch(**row | {"warc_file": Path(row["warc_file"]).name}) for row in rows]

    def _commit(self, partition: Partition, fetched: list[Fetch], live: dict[bytes, Row]) -> Record:
        root, pages = self.corpus.root, self.increment.path / "pages"
        path = hop_plan.record_path(self.increment, partition.name)
        stored = str(pages.relative_to(root))
        rows = [_settled(row(fetch, stored), live.get(fetch.url_key)) for fetch in fetched]
        table = publish_table(root, path.parent, partition.name, pa.Table.from_pylist(rows, schema=SCHEMA))
        warcs = {
            f"warc/{path.name}": _output(self.corpus, path)
            for path in sorted(pages.glob(f"{partition.name}-*.warc.gz"))
        }
        if step_path(self.increment.path, STEP).exists():
            raise DataError(
                f"{path}: another command has finished fetching for {self.increment.name} meanwhile; what "
                "failed is fetched again by the next increment: give --retry-failed when you add that"
            )
        reasons = Counter(row["outcome"] for row in rows)
        passed = reasons.pop("ok", 0)
        record = Record(
            step=STEP,
            part=partition.name,
            inputs=self.plan.inputs,
            outputs={"fetches": table, **warcs},
            entered=len(rows),
            passed=passed,
            reasons=dict(reasons),
        )
        return commit(path, record)


def crawl_one(
    corpus: Corpus, increment: Increment, hop: str, name: str, settings: CrawlSettings, look: Look
) -> Record:
    """Crawl one partition of a planned hop alone, in an event loop of its own, unless it is done.

    Raises DataError when there is no such partition, or the one before it is not done.
    """
    plan = hop_plan.find(increment, hop)
    partition = next((each for each in plan.partitions if each.name == name), None) if plan else None
    if plan is None or partition is None:
        raise DataError(f"{hop_plan.plan_path(increment, hop)}: knows no partition {name}")
    one = Hop(corpus=corpus, increment=increment, plan=plan, settings=lambda: settings)
    if record := done(hop_plan.record_path(increment, name), plan.inputs):
        return record
    if partition.after and not hop_plan.record_path(increment, partition.after).exists():
        raise DataError(f"{name}: begins when {partition.after} is done, which holds links of the same site")

    async def crawl(shared: Shared) -> Record:
        return await one.crawl(partition, shared)

    return one.in_event_loop(crawl, Watch(look, name, partition.targets.rows))


@dataclass(frozen=True)
class _Loaded:
    """The files of a partition: what is fetched, the rows of what was forgotten, how the live sites answered
    where an archive is asked, by url_key, and pages that are stored."""

    targets: list[Target]
    forgotten: list[Fetch]
    live: dict[bytes, Row]
    stored: list[Fetch]


class _Turns:
    """Which partition a lane takes next."""

    def __init__(self, partitions: list[Partition], done: set[str]) -> None:
        self.left = [partition for partition in partitions if partition.name not in done]
        self._done = done

    def take(self, lane: int) -> Partition | None:
        """A partition that may begin, or None; only the end of another can let one more begin."""
        ready = [each for each in self.left if not each.after or each.after in self._done]
        if not ready:
            return None
        partition = ready[-1 if from_the_end(lane) else 0]
        self.left.remove(partition)
        return partition

    def end(self, partition: Partition) -> None:
        """A partition is done."""
        self._done.add(partition.name)


def _is_forgotten(target: Target, forgotten: Forgotten) -> bool:
    return target.url_key in forgotten.url_keys or forgotten.names(target.original or target.url)


def _settled(row: Row, live: Row | None) -> Row:
    """What counts when an archive was asked for a link that was dead: the copy that it has or may yet give,
    else how the live site answered."""
    if live is None or row["outcome"] == "ok" or is_temporary(row["outcome"]):
        return row
    return live | {"detail": f"{live['detail']}; archive: {row['outcome']} {row['detail']}".strip("; ")}


def _output(corpus: Corpus, file: Path) -> Output:
    name = str(file.relative_to(corpus.root))
    return Output(path=name, bytes=file.stat().st_size, xxh3_128=hash_file(file))
