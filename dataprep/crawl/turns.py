"""Which partition of a hop is crawled next, by this process or by another.

A partition is claimed like the part of any step (`store/claims.py`), with one difference: nobody makes again
what another holds, since a site shall be asked by one process at a time. A holder asks nothing more when its
last heartbeat is LEASE_S old (`store/presence.py`); another takes over when it has not changed for SILENT_S.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from dataprep.corpus.directory import Increment
from dataprep.crawl import hop_plan
from dataprep.crawl.estimate import from_the_end
from dataprep.crawl.hop_plan import HopPlan, Partition
from dataprep.crawl.progress import Watch
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
        self._increment, self._presence, self._watch = increment, presence, watch
        self._place = str(folder.relative_to(presence.root))
        self._left = list(plan.partitions)
        self._claims = Claims(folder, plan.hop, presence.worker)
        self._claims.begin()
        self._pulses = Pulses(presence.root, presence.silent_s)
        self._own = dict[str, OpenPart]()
        self._looking = asyncio.Lock()

    @property
    def open(self) -> list[OpenPart]:
        """What this process crawls."""
        return list(self._own.values())

    async def take(self, lane: int) -> Partition | None:
        """Claim a partition that may begin; None when all are done, whoever did them.

        Waits while others hold what is left. Raises GivenUp when nobody tries what is left.
        """
        while True:
            async with self._looking:
                ended = await asyncio.to_thread(self._strike_out)
                for outcomes in ended:
                    self._watch.skip(outcomes)
                if not self._left:
                    return None
                if partition := await asyncio.to_thread(self.claim, lane):
                    return partition
            await asyncio.sleep(LOOK_S)

    def end(self, partition: Partition) -> None:
        """Note that a partition of this process is done."""
        self._presence.worker.made += 1
        self._left.remove(partition)
        del self._own[partition.name]

    def fail(self, partition: Partition, reason: str) -> None:
        """Note that a try of this process failed."""
        held = self._own.pop(partition.name)
        self._presence.worker.failed += 1
        self._claims.fail(partition.name, held.number, "error", reason)

    def release(self) -> None:
        """Give back what this process holds."""
        for held in self._own.values():
            self._claims.release(held.part, held.number)
        self._own.clear()

    def _strike_out(self) -> list[Counter[str]]:
        """Take what others have done off the list; gives how its links ended."""
        done = self._done()
        theirs = [each for each in self._left if each.name in done and each.name not in self._own]
        self._left = [each for each in self._left if each not in theirs]
        records = [load_record(hop_plan.record_path(self._increment, each.name)) for each in theirs]
        return [Counter({"ok": record.passed, **record.reasons}) for record in records]

    def claim(self, lane: int) -> Partition | None:
        """Claim a partition that nobody holds; None where there is none yet. Raises GivenUp."""
        done, tries, is_held, elsewhere = self._done(), self._claims.tries(), bool(self._own), 0
        for partition in reversed(self._left) if from_the_end(lane) else self._left:
            name = partition.name
            if name in self._own or (partition.after and partition.after not in done):
                continue
            if self._claims.held(name, tries[name].open, self._pulses, self._is_fruitful):
                is_held = True
                elsewhere += 1
            elif not tries[name].is_given_up:
                is_held = True  # by us, or by whoever was quicker
                number = tries[name].next
                if self._claims.take(name, number):
                    self._own[name] = OpenPart(
                        step=self._claims.step,
                        place=self._place,
                        part=name,
                        number=number,
                        since=time.time(),
                    )
                    return partition
        self._watch.elsewhere = elsewhere
        if not is_held:
            raise self._claims.given_up(each.name for each in self._left if tries[each.name].is_given_up)
        return None

    def _is_fruitful(self, claim: Path) -> bool:
        """Whether a try has stored pages: then it is no sign of a fault that its worker is gone."""
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
