"""One hop of a crawl: several of its partitions at once, each committed when all its links have ended.

Nothing but files goes from one partition to another, so any process of any machine can crawl any partition
that may begin. `turns.py` deals them out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.tombstones import REASON, Forgotten
from dataprep.crawl import archive, hop_plan
from dataprep.crawl.client import Client
from dataprep.crawl.hop_plan import STEP, HopPlan, Partition
from dataprep.crawl.journal import Superseded, discard, warcs_until
from dataprep.crawl.outcomes import UNREACHED, is_temporary
from dataprep.crawl.partition import Shared, crawl_part, prepared, run_crawl
from dataprep.crawl.progress import Look, Watch
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import SCHEMA, Fetch, Target, row
from dataprep.crawl.turns import LOOK_S, Turns
from dataprep.errors import DataError
from dataprep.store.claims import BadMachine
from dataprep.store.crew import FAULTS_OF_MACHINE
from dataprep.store.files import Output, hash_file, publish_table
from dataprep.store.presence import Presence
from dataprep.store.records import Record, commit, done, step_path

MEASURED_FROM = 100
"""Requests after which the time of their answers is measured, no longer assumed."""

SILENT_SITES = 20
"""A worker that has reached none of so many sites is cut off itself."""

Row = dict[str, Any]
SettingsNow = Callable[[], CrawlSettings]
"""The settings of a call, with the hours that are left of its budget."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """A hop of an increment's crawl that is planned. presence: this process, as others see it."""

    corpus: Corpus
    increment: Increment
    plan: HopPlan
    settings: SettingsNow
    presence: Presence

    def run(self, look: Look, title: str) -> None:
        """Crawl the partitions that are not done, beside others; those with the longest sites begin first.

        Raises GivenUp, BadMachine, Stopped, Excluded or LeaseLapsed when this process cannot go on.
        """
        partitions = self.plan.partitions
        left = hop_plan.left(self.increment, self.plan)
        for each in partitions:  # raises for one that was made from other links
            done(hop_plan.record_path(self.increment, each.name), self.plan.inputs)
        if not left:
            return
        settings = self.settings()
        assumed = hop_plan.assume(self.increment, settings)
        expected = hop_plan.expected(self.corpus.root, self.plan, left, assumed)
        watch = Watch(look, title, sum(each.targets.rows for each in partitions), expected)
        turns = Turns(self.increment, self.plan, self.presence, watch)

        async def crawl(shared: Shared) -> None:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(self._keep(turns))
                silence = Silence(shared.client)
                async with asyncio.TaskGroup() as lanes:
                    for lane in range(min(settings.partitions, len(left))):
                        lanes.create_task(self._work(lane, turns, shared, silence))
                keeping.cancel()

        admitted, permit = self._admitted(), self.presence.require_lease
        self.presence.show([])  # a plan may have taken long
        try:
            with self.presence.in_event_loop():
                run_crawl(crawl, admitted, prepared(admitted), watch, permit)
        except OSError:
            permit()  # what the disk did then is of no interest
            raise
        finally:
            turns.release()
            with suppress(OSError):
                self.presence.show([])

    async def _keep(self, turns: Turns) -> None:
        """Show others that this process lives, and heed what they ask of it."""
        while True:
            self.presence.require_lease()
            with suppress(OSError):  # the lease decides how long that may last
                await asyncio.to_thread(self.presence.look_around, turns.open)
            await asyncio.sleep(LOOK_S)

    async def _work(self, lane: int, turns: Turns, shared: Shared, silence: Silence) -> None:
        """Crawl one partition after the other.

        On a machine that is cut off from the web, every link would fail. So a worker begins with one
        partition, from the end, where one partition holds many sites. Its other lanes wait for an answer.
        """
        begins_at_end = self.presence.is_worker
        while lane and begins_at_end and silence.is_doubtful:
            await asyncio.sleep(LOOK_S)
        while partition := await turns.take(lane + begins_at_end):
            try:
                await self._crawl(partition, shared, silence)
            except Superseded:
                turns.drop(partition)
                continue
            except DataError as error:
                if not self.presence.is_worker or isinstance(error, BadMachine):
                    raise
                if isinstance(error.__cause__, OSError) and error.__cause__.errno in FAULTS_OF_MACHINE:
                    raise BadMachine(f"{self.presence.worker.host}: {error}") from error
                turns.fail(partition, str(error))
                continue
            turns.end(partition)
            silence.is_tried = True
            if shared.client.answers >= MEASURED_FROM:
                answer_s = shared.client.answered_s / shared.client.answers
                hop_plan.assume(self.increment, self.settings(), answer_s)
        silence.is_tried = True

    async def _crawl(self, partition: Partition, shared: Shared, silence: Silence) -> Record:
        """Crawl one partition and commit its rows and WARC files; raises BadMachine when nobody answers."""
        settings, pages = self._admitted(), self.increment.path / "pages"
        loaded = await asyncio.to_thread(self._load, partition, settings.forgotten)
        tick = shared.watch.count if shared.watch else lambda _: None
        for fetch in loaded.forgotten:
            tick(fetch)
        heard = shared.client.heard
        crawled = await crawl_part(
            partition.name,
            loaded.targets,
            pages,
            settings,
            tick,
            shared,
            earlier=loaded.stored,
            later=self.plan.later(partition),
        )
        if self.presence.is_worker and silence.is_cut_off(crawled.asked, heard):
            discard(pages, partition.name, crawled.attempt)
            raise BadMachine(
                f"{self.presence.worker.host}: none of {len(silence.sites)} sites answered in a row, so this "
                "machine seems to be cut off from the web; others ask what it has asked last"
            )
        rows = [*loaded.forgotten, *crawled.rows]
        return await asyncio.to_thread(self._commit, partition, rows, loaded.live, crawled.attempt)

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

    def _commit(
        self, partition: Partition, fetched: list[Fetch], live: dict[bytes, Row], attempt: int
    ) -> Record:
        self.presence.require_lease()
        root, pages = self.corpus.root, self.increment.path / "pages"
        path = hop_plan.record_path(self.increment, partition.name)
        stored = str(pages.relative_to(root))
        rows = [_settled(row(fetch, stored), live.get(fetch.url_key)) for fetch in fetched]
        table = publish_table(root, path.parent, partition.name, pa.Table.from_pylist(rows, schema=SCHEMA))
        warcs = {
            f"warc/{path.name}": _output(self.corpus, path)
            for path in warcs_until(pages, partition.name, attempt)
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


@dataclass(frozen=True)
class _Loaded:
    """The files of a partition: what is fetched, the rows of what was forgotten, how the live sites answered
    where an archive is asked, by url_key, and pages that are stored."""

    targets: list[Target]
    forgotten: list[Fetch]
    live: dict[bytes, Row]
    stored: list[Fetch]


class Silence:
    """The sites that were asked since the last answer of any server, and gave none.

    is_tried: whether a partition has ended.
    """

    def __init__(self, client: Client) -> None:
        self.sites, self.is_tried, self._client = set[str](), False, client

    @property
    def is_doubtful(self) -> bool:
        """Whether nothing shows yet that this machine is not cut off from the web."""
        return not (self.is_tried or self._client.heard)

    def is_cut_off(self, asked: list[Fetch], heard: int) -> bool:
        """Whether too many sites in a row gave no answer. heard: answers before these rows were asked for."""
        if self._client.heard > heard:
            self.sites.clear()
        self.sites |= {row.site for row in asked if self._client.heard == heard and row.outcome in UNREACHED}
        return len(self.sites) >= SILENT_SITES


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
