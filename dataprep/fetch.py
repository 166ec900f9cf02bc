"""Stage `fetch`: the links of an increment, crawled to WARC, one partition of whole sites after the other.

A round takes a table of links: the increment's own, or a queue of what failed (`retries.py`). A redirect that
leaves its site ends as `moved`; the new address is fetched in the next hop of the round, by the owner of the
site that it points at. The last row of a link is the one that counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from dataprep import retries
from dataprep.corpus import Corpus, Increment
from dataprep.crawl.fetch import fetch_part
from dataprep.crawl.outcomes import is_temporary
from dataprep.crawl.rows import Fetch, Target
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.watch import Look, Watch
from dataprep.errors import DataError
from dataprep.links import MEDIA, REDDIT
from dataprep.store import Output, Record, commit, done, hash_file, publish_table, read_table
from dataprep.urls import site_of

STAGE = "fetches"
PART_LINKS = 50_000
"""Links of a partition, about; a site is never split."""
HOPS = 4
"""The address of a link, and how often its page may move from site to site."""

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
    ]
)


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
    begun = increment.records(retries.STAGE)
    closed = increment.closed or bool(increment.records("documents"))
    if retry_failed and closed and not begun:
        raise DataError(
            f"{increment.path}: its pages are already extracted, so no more are fetched; what failed here is "
            "fetched again by the next increment: give --retry-failed when you add that"
        )
    budget = _Budget(settings)
    with watching(increment) as look:
        fetching = _Fetching(corpus, increment, budget, look)
        fetching.round(0, increment.records("links")[0].outputs[0])
        went_on = False
        for number, record in enumerate(begun, start=1):
            went_on = fetching.round(number, record.outputs[0])
        if retry_failed and not closed and not went_on and not budget.used_up:
            fetching.round(len(begun) + 1, retries.queue(corpus, increment).outputs[0])


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

    def round(self, number: int, links: Output) -> bool:
        """Fetch a table of links, and follow those that moved; False if all of that was done before."""
        table = read_table(self.corpus.root, [links], ["url", "url_key", "site"])
        targets = [Target(**row) for row in table.to_pylist()]
        inputs, fetched = [links], False
        for hop in range(HOPS):
            title = "moved" if hop else "retry" if number else "fetch"
            watch = Watch(self.look, title, len(targets))
            records = []
            for place, part in enumerate(partitions(targets)):
                name = f"round-{number:03d}-{hop}-{place:05d}"
                made_from = {output.path: output.xxh3_128 for output in inputs}
                record = done(self.increment.path / STAGE / f"{name}.json", made_from)
                if record:
                    watch.skip(Counter({"ok": record.passed, **record.reasons}))
                else:
                    record = self._part(name, part, made_from, watch)
                    fetched = True
                records.append(record)
            inputs = [record.outputs[0] for record in records]
            targets = [target for output in inputs for target in _moved(self.corpus, output)]
            if not targets:
                break
        return fetched

    def _part(self, name: str, targets: list[Target], inputs: dict[str, str], watch: Watch) -> Record:
        """Crawl one partition and commit its rows and WARC files."""
        root, stage = self.corpus.root, self.increment.path / STAGE
        pages = self.increment.path / "pages"
        fetched = fetch_part(name, targets, pages, self.budget.settings, watch.count, watch)
        rows = [_row(fetch, str(pages.relative_to(root))) for fetch in fetched]
        table = publish_table(root, stage, name, pa.Table.from_pylist(rows, schema=SCHEMA))
        warcs = [_output(self.corpus, path) for path in sorted(pages.glob(f"{name}-*.warc.gz"))]
        reasons = Counter(fetch.outcome for fetch in fetched)
        passed = reasons.pop("ok", 0)
        record = Record(STAGE, name, inputs, [table, *warcs], len(fetched), passed, dict(reasons))
        return commit(stage / f"{name}.json", record)


def outcomes(corpus: Corpus, increments: list[Increment]) -> Counter[str]:
    """How the links of increments ended, each counted once, by its last fetch.

    Memory: the links that moved or failed for a temporary reason, since only those are fetched again.
    """
    counts: Counter[str] = Counter()
    unsettled: dict[bytes, str] = {}
    for record in [record for each in increments for record in each.records(STAGE)]:
        table = read_table(corpus.root, record.outputs[:1], ["url_key", "outcome"])
        for key, outcome in zip(table["url_key"].to_pylist(), table["outcome"].to_pylist(), strict=True):
            counts[outcome] += 1
            if earlier := unsettled.pop(key, None):
                counts[earlier] -= 1
            if outcome == "moved" or is_temporary(outcome):
                unsettled[key] = outcome
    return +counts


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


def _row(fetch: Fetch, pages: str) -> dict[str, Any]:
    """A fetch as a row, with the WARC file's path relative to the corpus."""
    return asdict(fetch) | {"warc_file": f"{pages}/{fetch.warc_file}" if fetch.warc_file else ""}


def _output(corpus: Corpus, file: Path) -> Output:
    return Output(str(file.relative_to(corpus.root)), file.stat().st_size, hash_file(file))


def _moved(corpus: Corpus, fetched: Output) -> Iterator[Target]:
    """The new addresses of links that moved, but for sites of which the recipe takes nothing."""
    unwanted = REDDIT | MEDIA | corpus.recipe.collect.links.blocked_sites
    for row in read_table(corpus.root, [fetched], ["outcome", "final_url", "url_key"]).to_pylist():
        if row["outcome"] == "moved" and (site := site_of(row["final_url"])) not in unwanted:
            yield Target(row["final_url"], row["url_key"], site)
