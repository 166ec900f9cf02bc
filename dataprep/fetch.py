"""Stage `fetch`: the links of an increment, crawled to WARC, one partition of whole sites after the other.

A redirect that leaves its site ends as `moved`; the new address is fetched in a later round, by the owner of
the site that it points at, and takes the place of the first row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from dataprep.corpus import Corpus, Increment
from dataprep.crawl.fetch import fetch_part
from dataprep.crawl.rows import Fetch, Target
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.watch import Look, Watch
from dataprep.links import MEDIA, REDDIT
from dataprep.store import Output, Record, commit, done, hash_file, publish_table, read_table
from dataprep.urls import site_of

STAGE = "fetches"
PART_LINKS = 50_000
"""Links of a partition, about; a site is never split."""
ROUNDS = 4
"""The first round, and how often a page may move from site to site."""

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


def run(corpus: Corpus, increment: Increment, settings: CrawlSettings, watching: Watching) -> None:
    """Fetch every link of the increment, and follow those that moved."""
    with watching(increment) as look:
        _rounds(corpus, increment, settings, look)


def _rounds(corpus: Corpus, increment: Increment, settings: CrawlSettings, look: Look) -> None:
    sources = increment.records("links")
    links = read_table(corpus.root, [sources[0].outputs[0]], ["url", "url_key", "site"])
    targets = [Target(**row) for row in links.to_pylist()]
    inputs = sources[0].outputs[:1]
    for number in range(ROUNDS):
        watch = Watch(look, "fetch" if number == 0 else "moved", len(targets))
        records = []
        for place, part in enumerate(partitions(targets)):
            name = f"round-{number}-{place:05d}"
            records.append(_run_part(corpus, increment, name, part, inputs, settings, watch))
        inputs = [record.outputs[0] for record in records]
        targets = [target for output in inputs for target in _moved(corpus, output)]
        if not targets:
            return


def outcomes(corpus: Corpus, increment: Increment) -> Counter[str]:
    """How the links of an increment ended, each counted once, by the last round that fetched it."""
    last: dict[bytes, str] = {}
    for record in increment.records(STAGE):
        table = read_table(corpus.root, record.outputs[:1], ["url_key", "outcome"])
        last |= zip(table["url_key"].to_pylist(), table["outcome"].to_pylist(), strict=True)
    return Counter(last.values())


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


def _run_part(
    corpus: Corpus,
    increment: Increment,
    part: str,
    targets: list[Target],
    made_from: list[Output],
    settings: CrawlSettings,
    watch: Watch,
) -> Record:
    path = increment.path / STAGE / f"{part}.json"
    inputs = {output.path: output.xxh3_128 for output in made_from}
    if record := done(path, inputs):
        watch.skip(Counter({"ok": record.passed, **record.reasons}))
        return record
    pages = increment.path / "pages"
    fetched = fetch_part(part, targets, pages, settings, watch.count, watch)
    rows = [_row(fetch, str(pages.relative_to(corpus.root))) for fetch in fetched]
    table = publish_table(
        corpus.root, increment.path / STAGE, part, pa.Table.from_pylist(rows, schema=SCHEMA)
    )
    warcs = [_output(corpus, path) for path in sorted(pages.glob(f"{part}-*.warc.gz"))]
    reasons = Counter(fetch.outcome for fetch in fetched)
    passed = reasons.pop("ok", 0)
    return commit(path, Record(STAGE, part, inputs, [table, *warcs], len(fetched), passed, dict(reasons)))


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
