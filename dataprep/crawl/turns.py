"""Which partition of a hop is crawled next, by this process or by another.

A partition is claimed like the part of any step (`store/claims.py`), with one difference: nobody repeats a
partition that another process holds, because only one process at a time may ask a site. A holder sends no
request when its last heartbeat is older than LEASE_S (`store/presence.py`). Others take over after SILENT_S.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dataprep.corpus.directory import Increment
from dataprep.crawl import hop_plan
from dataprep.crawl.estimate import from_the_end
from dataprep.crawl.hop_plan import HopPlan, Partition
from dataprep.crawl.progress import Watch
from dataprep.errors import DataError
from dataprep.store.checksummed_json import load_or_none
from dataprep.store.claims import Claims
from dataprep.store.presence import Presence
from dataprep.store.records import load_record
from dataprep.store.workers import OpenPart, Pulses, all_workers

LOOK_S = 1.0
"""How often a lane without a partition looks whether one may begin."""


class Turns:
    """The partitions of a hop that are not done, as one process sees them."""

    def __init__(self, increment: Increment, plan: HopPlan, presence: Presence, watch: Watch) -> None:
        folder = hop_plan.folder(increment)
        self._increment, self.presence, self._watch = increment, presence, watch
        self._place = str(folder.relative_to(presence.root))
        self._left = list(plan.partitions)
        self._plan = hop_plan.plan_path(increment, plan.hop)
        self._claims = Claims(folder, plan.hop, presence.worker)
        self._claims.begin()
        self._claims.release_all()
        self._pulses = Pulses(presence.root, presence.silent_s)
        self._own = dict[str, OpenPart]()
        self._looking = asyncio.Lock()

    @property
    def open(self) -> list[OpenPart]:
        """What this process crawls."""
        return list(self._own.values())

    async def take(self, lane: int) -> Partition | None:
        """Claim a partition that may begin; None when all are done, whoever did them.

        Waits while others hold what is left. Raises GivenUp when nobody tries what is left, and DataError
        when the plan is gone.
        """
        while True:
            async with self._looking:
                done = await asyncio.to_thread(self._done)
                theirs = [each for each in self._left if each.name in done and each.name not in self._own]
                for outcomes in await asyncio.to_thread(self._outcomes, theirs):
                    self._watch.skip(outcomes)
                self._left = [each for each in self._left if each not in theirs]
                if not self._left:
                    return None
                if partition := await asyncio.to_thread(self.claim, lane, done):
                    return partition
            await asyncio.sleep(LOOK_S)

    def claim(self, lane: int, done: Collection[str]) -> Partition | None:
        """Claim a partition that nobody holds and that is not done; None where there is none yet.

        done: names of those that are. Raises as `take`.
        """
        left, own = [*self._left], {*self._own}
        if not self._plan.exists():
            raise DataError(f"{self._plan}: is gone; another command has finished or dropped this crawl")
        tries, elsewhere, given_up, fresh, failed_here = self._claims.tries(), 0, [], [], []
        for partition in reversed(left) if from_the_end(lane) else left:
            name = partition.name
            if name in own or (partition.after and partition.after not in done):
                continue
            record = hop_plan.record_path(self._increment, name)
            if self._claims.held(name, tries[name].open, self._pulses, record, self._is_fruitful):
                elsewhere += 1
            elif tries[name].is_given_up:
                given_up.append(name)
            elif tries[name].have_failed_on(self.presence.worker.host):
                failed_here.append(partition)
            else:
                fresh.append(partition)
        self._watch.elsewhere = elsewhere
        for partition in fresh + failed_here:
            number = tries[partition.name].next
            if self._claims.take(partition.name, number):
                if hop_plan.record_path(self._increment, partition.name).exists():  # it was done meanwhile
                    self._claims.release(partition.name, number)
                    continue
                self._own[partition.name] = OpenPart(
                    step=self._claims.step,
                    place=self._place,
                    part=partition.name,
                    number=number,
                    since=time.time(),
                )
                return partition
        if given_up and not (own or elsewhere or fresh or failed_here):
            raise self._claims.given_up(given_up)
        return None

    def end(self, partition: Partition) -> None:
        """Note that a partition of this process is done."""
        self.presence.worker.made += 1
        self._left.remove(partition)
        del self._own[partition.name]

    def fail(self, partition: Partition, reason: str) -> None:
        """Note that a try of this process failed."""
        held = self._own.pop(partition.name)
        self.presence.worker.failed += 1
        self._claims.fail(partition.name, held.number, "error", reason)

    def drop(self, partition: Partition) -> None:
        """Note that another process has taken a partition over."""
        del self._own[partition.name]

    def release(self) -> None:
        """Give back what this process holds; what cannot be given back now is when it begins again."""
        for held in self._own.values():
            with suppress(OSError):
                self._claims.release(held.part, held.number)
        self._own.clear()

    def _outcomes(self, partitions: list[Partition]) -> list[Counter[str]]:
        """How the links of partitions that are done ended."""
        records = [load_record(hop_plan.record_path(self._increment, each.name)) for each in partitions]
        return [Counter({"ok": record.passed, **record.reasons}) for record in records]

    def _is_fruitful(self, claim: Path) -> bool:
        """Whether a try has stored pages: if it has, the loss of its worker does not count as a failure."""
        pages, (part, _, _) = self._increment.path / "pages", claim.name.rsplit(".", 2)
        with suppress(FileNotFoundError):
            since = claim.stat().st_mtime
            journals = [path.stat() for path in pages.glob(f"{part}-*.journal")]
            return any(journal.st_size and journal.st_mtime >= since for journal in journals)
        return False

    def _done(self) -> set[str]:
        with suppress(FileNotFoundError):
            names = os.listdir(self._increment.path / hop_plan.STEP)
            return {name.removesuffix(".json") for name in names if name.endswith(".json")}
        return set()


class SitesUnderCrawl:
    """Which sites crawls of a corpus may be asking now: those of the partitions that living workers hold."""

    def __init__(self, root: Path) -> None:
        self._root, self._pulses = root, Pulses(root)
        self._sites = dict[tuple[str, str, str], set[str]]()
        self._looked = float("-inf")

    def __call__(self, site: str) -> bool:
        """Whether a crawl holds the site."""
        if time.monotonic() - self._looked > LOOK_S:
            self._look()
        return any(site in sites for sites in self._sites.values())

    def _look(self) -> None:
        root = self._root
        living = [worker for worker in all_workers(root) if not self._pulses.is_dead(worker.name)]
        held = {(part.place, part.step, part.part) for worker in living for part in worker.open}
        self._sites = {each: sites for each, sites in self._sites.items() if each in held}
        for place, hop, name in held - self._sites.keys():
            is_crawl = place.endswith(f"/{hop_plan.STEP}")
            plan = load_or_none(root / place / f"{hop}.plan.json", HopPlan) if is_crawl else None
            for partition in plan.partitions if plan else ():
                if partition.name == name:
                    sites = hop_plan.read(root, partition.targets)["site"]
                    self._sites[place, hop, name] = {*sites.to_pylist()}
        self._looked = time.monotonic()
