"""Step `fetch`: the links of an increment, crawled to WARC in rounds of hops.

A round takes a table of links: the increment's own, or a queue of what failed (`retry_queue.py`). A redirect
that leaves its site ends as `moved`; the new address is fetched in the next hop of the round, by the owner of
the site that it points at. An archive is asked for what is gone, after all that or before it. The last row of
a link is the one that counts.

Each hop is planned on disk (`partitioning.py`) and crawled (`hop.py`) before the next is planned.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.tombstones import Forgotten
from dataprep.corpus.urls import canonical, site_of
from dataprep.crawl import archive, hop_plan, partitioning, retry_queue
from dataprep.crawl.hop_plan import BUDGET, TARGETS, HopPlan
from dataprep.crawl.hop_plan import STEP as STEP
from dataprep.crawl.outcomes import GONE
from dataprep.crawl.partitioning import PART_LINKS
from dataprep.crawl.progress import Look
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import SCHEMA as SCHEMA
from dataprep.crawl.targets import Target
from dataprep.errors import DataError
from dataprep.links.rules import refused
from dataprep.store.checksummed_json import dump, load
from dataprep.store.external_sort import SortedSpill, ranges
from dataprep.store.files import Output, read_batches, read_table, write_once
from dataprep.store.presence import Presence
from dataprep.store.records import Record, finish_led, load_record, origin, step_path

HOPS = range(1, 5)
"""The address of a link, and how often its page may move from site to site."""
ARCHIVE_FIRST, ARCHIVE_LAST = HOPS.start - 1, HOPS.stop
"""The hops in which an archive is asked: rows of a later hop count before those of an earlier."""

LINK = pa.schema([TARGETS.field(name) for name in ("url", "url_key", "site", "first_seen")])
"""What of a link is needed to fetch it."""

ANEW = "remove it: the budget then begins anew"

Watching = Callable[[Increment], AbstractContextManager[Look]]
"""watching(increment) opens what shows a crawl, and gives the function that is handed each view of it."""


def run(
    corpus: Corpus,
    increment: Increment,
    settings: CrawlSettings,
    watching: Watching,
    presence: Presence,
    retry_failed: bool = False,
    plan_only: bool = False,
) -> None:
    """Fetch every link of the increment, and follow those that moved; then finish what retries were begun.

    retry_failed: begin one more, of all links in this and earlier increments that failed for a temporary
    reason, unless this call has just gone on with one. `settings.hours` is the budget of the whole call; all
    workers have one together. presence: this process, as others see it, which may crawl beside it. plan_only:
    plan the first hop, and ask nothing.

    Raises DataError for a retry in an increment that is closed to new pages.
    """
    begun = increment.records(retry_queue.STEP)
    closed = step_path(increment.path, STEP).exists()
    if retry_failed and closed and not begun:
        raise DataError(
            f"{increment.path}: its pages are already extracted, so no more are fetched; what failed here is "
            "fetched again by the next increment: give --retry-failed when you add that"
        )
    if closed:
        return
    settings = settings.model_copy(update={"forgotten": Forgotten.of(corpus.root)})
    budget = _Budget(settings, hop_plan.folder(increment) / BUDGET if presence.is_worker else None)
    with watching(increment) as look:
        fetching = _Fetching(corpus, increment, budget, look, presence)
        if not any(record.part.startswith("cdx-") for record in increment.parts(STEP)):  # not a CDX import
            inputs = {"links": origin(increment.path, "links")}
            links = increment.outputs("links", "links")
            if plan_only:
                fetching.begin(0, links, inputs)
                return
            fetching.round(0, links, inputs)
        went_on = False
        for number, queue in enumerate(begun, start=1):
            went_on = fetching.retry(number, queue)
        if retry_failed and not went_on and not budget.used_up:
            (hop_plan.folder(increment) / BUDGET).unlink(missing_ok=True)  # this round has its own
            fetching.retry(len(begun) + 1, retry_queue.queue(corpus, increment))


def finish(increment: Increment) -> None:
    """Finish the step, and `retry` with it: from now on the increment takes no more pages.

    `fetch` comes first: once its step file stands, no round begins or goes on.
    """
    for step in (STEP, retry_queue.STEP):
        finish_led(increment.path, step, {"links": origin(increment.path, "links")})
    shutil.rmtree(hop_plan.folder(increment), ignore_errors=True)


class _Budget:
    """The settings of a call's crawls, each with the time that those before it have left.

    shared: a file by which all workers have one budget, which began with the first of them.
    """

    def __init__(self, settings: CrawlSettings, shared: Path | None) -> None:
        self._settings = settings
        self._end = None
        if settings.hours is not None:
            began, hours = time.time(), settings.hours
            if shared:
                write_once(shared, dump({"began": began, "hours": hours}))
                found = load(shared, dict[str, float], ANEW)
                if hours != found["hours"]:
                    raise DataError(
                        f"{shared}: {found['hours']:g} hours were given for this crawl, not {hours:g}; give "
                        f"the same, or {ANEW}"
                    )
                began = found["began"]
            self._end = time.monotonic() + began + hours * 3600 - time.time()

    @property
    def settings(self) -> CrawlSettings:
        """The settings with the hours that are left now."""
        if self._end is None:
            return self._settings
        left = max(0.0, self._end - time.monotonic()) / 3600
        return self._settings.model_copy(update={"hours": left})

    @property
    def used_up(self) -> bool:
        """Whether nothing more may begin."""
        return self._end is not None and time.monotonic() >= self._end


@dataclass(frozen=True)
class _Fetching:
    """Rounds of fetching for one increment."""

    corpus: Corpus
    increment: Increment
    budget: _Budget
    look: Look
    presence: Presence

    def retry(self, number: int, queue: Record) -> bool:
        """Fetch the links of a queue, as `round` does."""
        return self.round(
            number, [queue.outputs["links"]], {f"{retry_queue.STEP}/{queue.part}": queue.origin}
        )

    def round(self, number: int, links: list[Output], inputs: dict[str, str]) -> bool:
        """Fetch tables of links and follow those that moved; False if all of that was done before.

        inputs: what the tables are called in records. An archive is asked for what the live sites did not
        give, or before them.
        """
        before = self._committed()
        live, targets = list[Output](), self._all(links)
        begun = self.begin(number, links, inputs)
        if begun.archive:
            targets = self._missed(links, self._crawl(number, ARCHIVE_FIRST, begun))
        for hop in HOPS:
            tables = self._hop(number, hop, targets, inputs)
            live += tables
            targets = _moved(self.corpus, tables)
            if not tables:
                break
        if not begun.archive and (last := self._last_archive(number)):
            self._hop(number, ARCHIVE_LAST, self._dead(last, links, live), inputs, archive=last)
        return self._committed() > before

    def begin(self, number: int, links: list[Output], inputs: dict[str, str]) -> HopPlan:
        """Plan the first hop of a round: an archive's, if it is asked first.

        A round goes on in the order in which it was begun, whatever the settings of this call.
        """
        hop_plan.assume(self.increment, self.budget.settings)
        first = hop_plan.find(self.increment, _name(number, ARCHIVE_FIRST))
        begun = first or hop_plan.find(self.increment, _name(number, HOPS.start))
        settings = self.budget.settings
        if first or (settings.archive_first and not begun):
            address = first.archive if first else settings.archive
            captures = self._captures(address, links)
            return self._plan(number, ARCHIVE_FIRST, captures, inputs, address)
        return self._plan(number, HOPS.start, self._all(links), inputs)

    def _last_archive(self, number: int) -> str:
        """The archive to ask after the live sites, "" for none."""
        begun = hop_plan.find(self.increment, _name(number, ARCHIVE_LAST))
        return begun.archive if begun else self.budget.settings.archive

    def _hop(
        self, number: int, hop: int, targets: Iterator[pa.Table], inputs: dict[str, str], archive: str = ""
    ) -> list[Output]:
        """Plan a hop and crawl it; gives the tables of all its partitions."""
        return self._crawl(number, hop, self._plan(number, hop, targets, inputs, archive))

    def _plan(
        self, number: int, hop: int, targets: Iterator[pa.Table], inputs: dict[str, str], archive: str = ""
    ) -> HopPlan:
        name = _name(number, hop)
        return partitioning.make(self.corpus, self.increment, name, targets, inputs=inputs, archive=archive)

    def _crawl(self, number: int, hop: int, plan: HopPlan) -> list[Output]:
        if plan.partitions:
            from dataprep.crawl.hop import Hop  # with aiohttp, which only a crawl needs

            live = "moved" if hop > HOPS.start else "retry" if number else "fetch"
            planned = Hop(
                corpus=self.corpus,
                increment=self.increment,
                plan=plan,
                settings=lambda: self.budget.settings,
                presence=self.presence,
            )
            planned.run(self.look, "archive" if plan.archive else live)
        paths = [hop_plan.record_path(self.increment, partition.name) for partition in plan.partitions]
        return [load_record(path).outputs["fetches"] for path in paths]

    def _links(self, links: list[Output]) -> Iterator[pa.Table]:
        for batch in read_batches(self.corpus.root, links, PART_LINKS, LINK.names):
            yield pa.Table.from_batches([batch]).select(LINK.names)

    def _all(self, links: list[Output]) -> Iterator[pa.Table]:
        """All links of some tables as targets; those that were forgotten have no URL."""
        return map(_as_targets, self._links(links))

    def _captures(self, archive: str, links: list[Output]) -> Iterator[pa.Table]:
        """All links, as an archive is asked for them."""
        for table in self._all(links):
            yield _as_captures(archive, table.filter(pc.field("url") != ""))

    def _missed(self, links: list[Output], asked: list[Output]) -> Iterator[pa.Table]:
        """The links of which an archive gave no page, and those that were forgotten."""
        for table, rows in self._with_rows(links, asked, pc.field("outcome") != "ok"):
            missed = pc.is_in(table["url_key"], value_set=rows["url_key"].combine_chunks())
            yield _as_targets(table.filter(pc.or_(missed, pc.equal(table["url"], ""))))

    def _dead(self, archive: str, links: list[Output], live: list[Output]) -> Iterator[pa.Table]:
        """The links that are gone, as an archive is asked for them, with how the live sites answered."""
        gone = pc.field("outcome").isin(sorted(GONE))
        for table, rows in self._with_rows(links, live, gone):
            there = table.filter(pc.field("url") != "")
            found = pc.index_in(there["url_key"], value_set=rows["url_key"].combine_chunks())
            dead = there.filter(found.is_valid())
            ends = rows.take(found.drop_null()).to_struct_array()
            asked = _as_targets(dead).set_column(TARGETS.get_field_index("live"), "live", ends)
            yield _as_captures(archive, asked)

    def _with_rows(
        self, links: list[Output], tables: list[Output], chosen: pc.Expression
    ) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Links and the rows of fetches that are chosen, range of keys by range of keys.

        A link has one such row at most: what is chosen has ended, so no later hop has asked for it.
        """
        root, folder = self.corpus.root, hop_plan.folder(self.increment)
        with SortedSpill(folder, _numbered(LINK)) as entered, SortedSpill(folder, _numbered(SCHEMA)) as ended:
            for table in self._links(links):
                entered.add(_with_numbers(table))
            for output in tables:
                ended.add(
                    _with_numbers(read_table(root, [output], SCHEMA.names, chosen).select(SCHEMA.names))
                )
            for low, high in ranges(entered.rows // PART_LINKS + 1):
                yield (
                    entered.read(low, high).select(LINK.names),
                    ended.read(low, high).select(SCHEMA.names),
                )

    def _committed(self) -> int:
        return len(list((self.increment.path / STEP).glob("*.json")))


def _name(number: int, hop: int) -> str:
    return f"round-{number:03d}-{hop}"


def _numbered(schema: pa.Schema) -> pa.Schema:
    return pa.schema([("number", pa.uint64()), *schema])


def _with_numbers(table: pa.Table) -> pa.Table:
    return table.add_column(0, "number", pa.array(partitioning.key_numbers(table["url_key"])))


def _as_targets(links: pa.Table) -> pa.Table:
    """Rows of links as targets."""
    original = pa.array([""] * links.num_rows, pa.string())
    live = pa.nulls(links.num_rows, TARGETS.field("live").type)
    return pa.Table.from_arrays([*links.select(LINK.names), original, live], schema=TARGETS)


def _as_captures(address: str, targets: pa.Table) -> pa.Table:
    """Targets as an archive is asked for them."""
    rows = targets.select(LINK.names).to_pylist()
    captures = [archive.capture(address, Target(**row)) for row in rows]
    for name in ("url", "site", "original"):
        column = pa.array([getattr(capture, name) for capture in captures], pa.string())
        targets = targets.set_column(TARGETS.get_field_index(name), name, column)
    return targets


def outcomes(corpus: Corpus, increments: list[Increment]) -> Counter[str]:
    """How the links of increments ended, each counted once, by its last fetch.

    Memory: the links that did not end well, since only those are fetched again.
    """
    counts: Counter[str] = Counter()
    unsettled: dict[bytes, str] = {}
    for output in [output for increment in increments for output in increment.outputs(STEP, "fetches")]:
        table = read_table(corpus.root, [output], ["url_key", "outcome"])
        for key, outcome in zip(table["url_key"].to_pylist(), table["outcome"].to_pylist(), strict=True):
            counts[outcome] += 1
            if earlier := unsettled.pop(key, None):
                counts[earlier] -= 1
            if outcome != "ok":
                unsettled[key] = outcome
    return +counts


def truncated(corpus: Corpus, increments: list[Increment]) -> int:
    """How many pages of increments an archive has cut off. (A page is fetched once, so each counts once.)"""
    outputs = [output for increment in increments for output in increment.outputs(STEP, "fetches")]
    cut = (pc.field("outcome") == "ok") & (pc.field("truncated") > "")
    return sum(
        read_table(corpus.root, [output], ["url_key"], cut).num_rows
        for output in outputs
        if "truncated" in pq.read_schema(corpus.root / output.path).names  # else of an earlier version
    )


def _moved(corpus: Corpus, tables: list[Output]) -> Iterator[pa.Table]:
    """The new addresses of links that moved, but for sites of which the recipe takes nothing."""
    rules = corpus.recipe.collect.links
    for output in tables:
        # without a final URL it was forgotten
        moved = (pc.field("outcome") == "moved") & (pc.field("final_url") != "")
        rows = read_table(corpus.root, [output], ["final_url", "url_key"], moved).to_pylist()
        taken = [row for row in rows if not refused(canonical(row["final_url"]), rules)]
        yield _as_targets(
            pa.table(
                {
                    "url": pa.array([row["final_url"] for row in taken], pa.string()),
                    "url_key": pa.array([row["url_key"] for row in taken], pa.binary(16)),
                    "site": pa.array([site_of(row["final_url"]) for row in taken], pa.string()),
                    "first_seen": pa.array([0] * len(taken), pa.int64()),
                }
            )
        )
