"""Step `fetch`: the links of an increment, crawled to WARC, one partition of whole sites after the other.

A round takes a table of links: the increment's own, or a queue of what failed (`retry_queue.py`). A redirect
that leaves its site ends as `moved`; the new address is fetched in the next hop of the round, by the owner of
the site that it points at. An archive is asked for what is gone, after all that or before it. The last row of
a link is the one that counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.tombstones import REASON, Forgotten
from dataprep.corpus.urls import canonical, site_of
from dataprep.crawl import archive, retry_queue
from dataprep.crawl.outcomes import GONE, is_temporary
from dataprep.crawl.progress import Look, Watch
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Fetch, Target
from dataprep.errors import DataError
from dataprep.links.rules import refused
from dataprep.store.files import Output, hash_file, publish_table, read_table
from dataprep.store.records import Record, commit, done, finish_led, origin, step_path

STEP = "fetch"
PART_LINKS = 50_000
"""Links of a partition, about; a site is never split."""
HOPS = range(1, 5)
"""The address of a link, and how often its page may move from site to site."""
ARCHIVE_FIRST, ARCHIVE_LAST = HOPS.start - 1, HOPS.stop
"""The hops in which an archive is asked: rows of a later hop count before those of an earlier."""

Rows = dict[bytes, dict[str, Any]]
"""Rows of `fetches` by url_key."""

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("url_key", pa.binary(16)),
        ("site", pa.string()),
        ("outcome", pa.string()),
        ("status", pa.int32()),
        ("final_url", pa.string()),
        ("content_type", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("detail", pa.string()),
        ("truncated", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ArchiveNotes:
    """Notes of a part that was fetched from an archive: the address of the archive."""

    archive: str = ""


Watching = Callable[[Increment], AbstractContextManager[Look]]
"""watching(increment) opens what shows a crawl, and gives the function that is handed each view of it."""


def run(
    corpus: Corpus, increment: Increment, settings: CrawlSettings, watching: Watching, retry_failed: bool
) -> None:
    """Fetch every link of the increment, and follow those that moved; then finish what retries were begun.

    retry_failed: begin one more, of all links in this and earlier increments that failed for a temporary
    reason, unless this call has just gone on with one. `settings.hours` is the budget of the whole call.

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
    budget = _Budget(settings)
    with watching(increment) as look:
        fetching = _Fetching(corpus, increment, budget, look)
        if not any(record.part.startswith("cdx-") for record in increment.parts(STEP)):  # not a CDX import
            inputs = {"links": origin(increment.path, "links")}
            fetching.round(0, increment.outputs("links", "links"), inputs)
        went_on = False
        for number, queue in enumerate(begun, start=1):
            went_on = fetching.retry(number, queue)
        if retry_failed and not went_on and not budget.used_up:
            fetching.retry(len(begun) + 1, retry_queue.queue(corpus, increment))


def finish(increment: Increment) -> None:
    """Finish the step, and `retry` with it: from now on the increment takes no more pages.

    `fetch` comes first: once its step file stands, no round begins or goes on.
    """
    for step in (STEP, retry_queue.STEP):
        finish_led(increment.path, step, {"links": origin(increment.path, "links")})


class _Budget:
    """The settings of a call's crawls, each with the time that those before it have left."""

    def __init__(self, settings: CrawlSettings) -> None:
        self._settings = settings
        self._end = None if settings.hours is None else time.monotonic() + settings.hours * 3600

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
        table = read_table(self.corpus.root, links, ["url", "url_key", "site", "first_seen"])
        everything = [Target(**row) for row in table.to_pylist()]
        gone = [target.url_key for target in everything if not target.url]
        wanted = targets = [target for target in everything if target.url]
        live = list[Output]()
        first, last = self._archives(number)
        if first:
            asked = self._ask(first, number, ARCHIVE_FIRST, links=wanted, inputs=inputs, live={})
            missed = self._last_rows(asked, lambda outcome: outcome != "ok")
            targets = [target for target in wanted if target.url_key in missed]
        for hop in HOPS:
            title = "moved" if hop > HOPS.start else "retry" if number else "fetch"
            name = f"round-{number:03d}-{hop}"
            tables = self._hop(
                name, title=title, cut=partitions, targets=targets, inputs=inputs, live={}, gone=gone
            )
            live += tables
            gone = []
            targets = [target for output in tables for target in _moved(self.corpus, output)]
            if not targets:
                break
        if last:
            missed = self._last_rows(live, GONE.__contains__)
            dead = [target for target in wanted if target.url_key in missed]
            self._ask(last, number, ARCHIVE_LAST, links=dead, inputs=inputs, live=missed)
        return self._committed() > before

    def _archives(self, number: int) -> tuple[str, str]:
        """The archive to ask before the live sites of a round and the one after them, "" for none.

        A round goes on in the order in which it was begun, whatever the settings of this call.
        """
        settings = self.budget.settings
        if begun := self._records(number, ARCHIVE_FIRST):
            return begun[0].noted(ArchiveNotes).archive, ""
        if settings.archive_first and not self._records(number, HOPS.start):
            return settings.archive, ""
        return "", settings.archive

    def _ask(
        self, address: str, number: int, hop: int, *, links: list[Target], inputs: dict[str, str], live: Rows
    ) -> list[Output]:
        """Ask an archive for links; one partition after the other, since all are of one site."""
        captures = [archive.capture(address, link) for link in links]
        return self._hop(
            f"round-{number:03d}-{hop}",
            title="archive",
            cut=slices,
            targets=captures,
            inputs=inputs,
            live=live,
            notes=ArchiveNotes(archive=address),
        )

    def _hop(
        self,
        name: str,
        *,
        title: str,
        cut: Callable[[list[Target]], Iterator[list[Target]]],
        targets: list[Target],
        inputs: dict[str, str],
        live: Rows,
        notes: ArchiveNotes | None = None,
        gone: Sequence[bytes] = (),
    ) -> list[Output]:
        """Crawl the partitions of a hop that are not done; gives the tables of all of them.

        What no finished partition holds is cut anew: as before, but for links that were forgotten since.
        These (`gone`: their keys) get their rows with the first partition.
        """
        watch = Watch(self.look, title, len(targets))
        earlier = self._stored({target.site for target in targets})
        tables, settled = list[Output](), set[bytes]()
        while record := done(self._path(name, len(tables)), inputs):
            watch.skip(Counter({"ok": record.passed, **record.reasons}))
            tables.append(record.outputs["fetches"])
            settled.update(read_table(self.corpus.root, tables[-1:], ["url_key"])["url_key"].to_pylist())
        rest = [target for target in targets if target.url_key not in settled]
        redacted = [key for key in gone if key not in settled]
        for part in list(cut(rest)) or ([[]] if redacted else []):
            path = self._path(name, len(tables))
            record = self._part(
                path,
                part,
                inputs=inputs,
                live=live,
                notes=notes,
                watch=watch,
                earlier=earlier,
                gone=redacted,
            )
            tables.append(record.outputs["fetches"])
            redacted = []
        return tables

    def _path(self, name: str, place: int) -> Path:
        return self.increment.path / STEP / f"{name}-{place:05d}.json"

    def _part(
        self,
        path: Path,
        targets: list[Target],
        *,
        inputs: dict[str, str],
        live: Rows,
        notes: ArchiveNotes | None,
        watch: Watch,
        earlier: list[Fetch],
        gone: list[bytes],
    ) -> Record:
        """Crawl one partition and commit its rows and WARC files."""
        root, pages, name = self.corpus.root, self.increment.path / "pages", path.stem
        fetched = [Fetch(url="", url_key=key, site="", outcome=REASON) for key in gone]
        if targets:
            from dataprep.crawl.partition import fetch_part  # with aiohttp, which only a crawl needs

            settings = archive.admitted(self.budget.settings, targets[0])
            fetched += fetch_part(name, targets, pages, settings, watch.count, watch=watch, earlier=earlier)
        stored = str(pages.relative_to(root))
        rows = [_settled(row(fetch, stored), live.get(fetch.url_key)) for fetch in fetched]
        table = publish_table(root, path.parent, name, pa.Table.from_pylist(rows, schema=SCHEMA))
        warcs = {
            f"warc/{path.name}": _output(self.corpus, path)
            for path in sorted(pages.glob(f"{name}-*.warc.gz"))
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
            part=name,
            inputs=inputs,
            outputs={"fetches": table, **warcs},
            entered=len(rows),
            passed=passed,
            reasons=dict(reasons),
            notes=msgspec.to_builtins(notes) if notes else {},
        )
        return commit(path, record)

    def _stored(self, sites: set[str]) -> list[Fetch]:
        """Pages of some sites that this increment has stored, and that came with a validator."""
        rows = []
        for output in self.increment.outputs(STEP, "fetches"):
            table = read_table(self.corpus.root, [output])
            rows += table.filter(
                (pc.field("outcome") == "ok") & pc.field("site").isin(pa.array(sorted(sites), pa.string()))
            ).to_pylist()
        return [
            Fetch(**row | {"warc_file": Path(row["warc_file"]).name})
            for row in rows
            if row["etag"] or row["last_modified"]
        ]

    def _last_rows(self, tables: list[Output], chosen: Callable[[str], bool]) -> Rows:
        """The last row of each link in some tables, if its outcome is one of those that are chosen."""
        rows: Rows = {}
        for output in tables:
            for row in read_table(self.corpus.root, [output]).to_pylist():
                rows.pop(row["url_key"], None)
                if chosen(row["outcome"]):
                    rows[row["url_key"]] = row
        return rows

    def _records(self, number: int, hop: int) -> list[Record]:
        """The partitions of a hop that are done."""
        prefix = f"round-{number:03d}-{hop}-"
        return [record for record in self.increment.records(STEP) if record.part.startswith(prefix)]

    def _committed(self) -> int:
        return len(list((self.increment.path / STEP).glob("*.json")))


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


def partitions(targets: list[Target]) -> Iterator[list[Target]]:
    """Cut targets into runs of whole sites, in an order of sites that their names' hashes give."""

    def place(target: Target) -> tuple[int, str, bytes]:
        return xxhash.xxh3_64_intdigest(target.site.encode()), target.site, target.url_key

    part: list[Target] = []
    for target in sorted(targets, key=place):
        if len(part) >= PART_LINKS and target.site != part[-1].site:
            yield part
            part = []
        part.append(target)
    if part:
        yield part


def slices(targets: list[Target]) -> Iterator[list[Target]]:
    """Cut targets of one site, an archive."""
    for start in range(0, len(targets), PART_LINKS):
        yield targets[start : start + PART_LINKS]


def row(fetch: Fetch, pages: str) -> dict[str, Any]:
    """A fetch as a row, with the WARC file's path relative to the corpus."""
    return asdict(fetch) | {"warc_file": f"{pages}/{fetch.warc_file}" if fetch.warc_file else ""}


def _settled(row: dict[str, Any], live: dict[str, Any] | None) -> dict[str, Any]:
    """What counts when an archive was asked for a link that was dead: the copy that it has or may yet give,
    else how the live site answered."""
    if live is None or row["outcome"] == "ok" or is_temporary(row["outcome"]):
        return row
    return live | {"detail": f"{live['detail']}; archive: {row['outcome']} {row['detail']}".strip("; ")}


def _output(corpus: Corpus, file: Path) -> Output:
    name = str(file.relative_to(corpus.root))
    return Output(path=name, bytes=file.stat().st_size, xxh3_128=hash_file(file))


def _moved(corpus: Corpus, fetched: Output) -> Iterator[Target]:
    """The new addresses of links that moved, but for sites of which the recipe takes nothing."""
    rules = corpus.recipe.collect.links
    for row in read_table(corpus.root, [fetched], ["outcome", "final_url", "url_key"]).to_pylist():
        moved = row["outcome"] == "moved" and row["final_url"]  # which is empty where it was forgotten
        if moved and not refused(canonical(row["final_url"]), rules):
            yield Target(row["final_url"], row["url_key"], site_of(row["final_url"]))
