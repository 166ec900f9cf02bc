"""Stage `extract`: from fetched pages to documents with text.

A partition is a run of fetched pages, in the order of the WARC files, of about the recipe's `partition_mb`.
Each page becomes a document or one counted reason. Pages are read in sandboxed child processes, so that one
which hangs, explodes or crashes is a reason, too. Memory: one partition's documents, and for each child what
the recipe's `extraction.memory_mb` allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import xxhash

from dataprep.corpus import Corpus, Increment
from dataprep.documents.sandbox import Limits, Misbehaved, Sandboxes
from dataprep.store import Record, commit, done, publish_table, read_table

STAGE = "documents"

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("url_key", pa.binary(16)),
        ("url", pa.string()),
        ("site", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("date", pa.string()),
        ("text", pa.string()),
        ("karma", pa.int64()),
        ("first_seen", pa.int64()),
        ("text_key", pa.binary(16)),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
    ]
)

FETCHED = ["url_key", "outcome", "warc_file", "warc_offset", "warc_length"]
LINK = ["url_key", "url", "site", "karma", "first_seen"]


LIBRARIES = ("trafilatura", "lxml", "htmldate", "justext", "charset-normalizer")
"""Whose versions decide what a page's text is."""

sandboxes = Sandboxes("dataprep.documents.page_text:in_sandbox")
"""Kept from partition to partition: a child takes longer to start than a page to read."""


def plan(corpus: Corpus, increment: Increment) -> list[list[dict[str, Any]]]:
    """The pages of each partition: rows of `fetches` in WARC order, cut where `partition_mb` is full."""
    rows: dict[bytes, dict[str, Any]] = {}
    for record in increment.records("fetches"):
        for row in read_table(corpus.root, record.outputs[:1], FETCHED).to_pylist():
            if row["outcome"] == "ok":
                rows[row["url_key"]] = row
    limit = corpus.recipe.collect.partition_mb * 1e6
    parts: list[list[dict[str, Any]]] = []
    size = limit
    for row in sorted(rows.values(), key=lambda row: (row["warc_file"], row["warc_offset"])):
        if size >= limit:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += row["warc_length"]
    return parts


def run_part(
    corpus: Corpus,
    increment: Increment,
    number: int,
    pages: list[dict[str, Any]],
    children: int,
    tick: Callable[[int], None],
) -> Record:
    """Extract one partition of `plan` by so many children at once; `tick` is told of pages."""
    part = f"part-{number:05d}"
    path = increment.path / STAGE / f"{part}.json"
    inputs = {
        output.path: output.xxh3_128
        for stage in ("links", "retries", "fetches")
        for record in increment.records(stage)
        for output in record.outputs
        if output.path.endswith(".parquet")
    }
    if record := done(path, inputs):
        tick(record.entered)
        return record
    links = _links(corpus, increment, {page["url_key"] for page in pages})
    rows, reasons = [], Counter[str]()
    for page, found in zip(pages, _extracted(corpus, pages, links, children), strict=True):
        tick(1)
        if isinstance(found, Misbehaved):
            reasons[str(found)] += 1
        elif "reason" in found:
            reasons[found["reason"]] += 1
        else:
            rows.append(_document(page, links[page["url_key"]], found))
    output = publish_table(
        corpus.root, increment.path / STAGE, part, pa.Table.from_pylist(rows, schema=SCHEMA)
    )
    versions = {library: version(library) for library in LIBRARIES}
    return commit(path, Record(STAGE, part, inputs, [output], len(pages), len(rows), dict(reasons), versions))


def _extracted(
    corpus: Corpus, pages: list[dict[str, Any]], links: dict[bytes, dict[str, Any]], children: int
) -> Iterator[Any]:
    """For each page what `page_text.in_sandbox` makes of it, or how it misbehaved."""
    settings = corpus.recipe.collect.extraction
    content = settings.model_dump()
    calls = (
        (
            str(corpus.root / page["warc_file"]),
            page["warc_offset"],
            page["warc_length"],
            links[page["url_key"]]["url"],
            content,
        )
        for page in pages
    )
    limits = Limits(settings.cpu_seconds, settings.memory_mb << 20)
    return sandboxes.map(limits, calls, children)


def _document(page: dict[str, Any], link: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The row of a document."""
    content = found["text"].encode()
    return {
        **link,
        **found,
        "doc_id": xxhash.xxh3_128_digest(link["url_key"] + content),
        "text_key": xxhash.xxh3_128_digest(content),
        **{name: page[name] for name in ("warc_file", "warc_offset", "warc_length")},
    }


def _links(corpus: Corpus, increment: Increment, keys: set[bytes]) -> dict[bytes, dict[str, Any]]:
    """The link rows of some URL keys, of links that entered here and of those that are retried here."""
    links: dict[bytes, dict[str, Any]] = {}
    for record in increment.link_records:
        table = read_table(corpus.root, record.outputs[:1], LINK)
        chosen = pa.compute.is_in(table["url_key"], value_set=pa.array(keys, pa.binary(16)))
        links |= {row["url_key"]: row for row in table.filter(chosen).to_pylist()}
    return links
