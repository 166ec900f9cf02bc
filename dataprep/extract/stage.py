"""Stage `extract`: from fetched pages to documents with text.

A partition is a run of fetched pages, in the order of the WARC files, of about the recipe's `partition_mb`.
Each page becomes a document or one counted reason, under which the record's notes name it by its url_key.
Pages are read in sandboxed child processes, so that one which hangs, explodes or crashes is a reason, too.
Memory: one partition's documents, for each child what the recipe's `extraction.memory_mb` allows, and 8 bytes
a page of the increment (130 for the moment of planning).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any
from unicodedata import unidata_version

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus, Increment
from dataprep.extract.sandbox import Limits, Misbehaved, Sandboxes
from dataprep.score import stage as score
from dataprep.store.files import publish_table, read_table
from dataprep.store.npy import fixed_width
from dataprep.store.records import Record, commit, done, recommit

STAGE = "documents"
VERSION = 1
"""Raised by every change of ours to what a page's text is."""

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

sandboxes = Sandboxes("dataprep.extract.page_text:in_sandbox")
"""Kept from partition to partition: a child takes longer to start than a page to read."""


PLACE = np.dtype([("record", "<u4"), ("row", "<u4")])
"""Where a fetched page stands: which of the records of `fetches`, which row of its table."""
PAGE = np.dtype([("key", ">u8", 2), ("file", "<u4"), ("offset", "<i8"), ("length", "<i8"), ("place", PLACE)])

Places = npt.NDArray[np.void]


def plan(corpus: Corpus, increment: Increment) -> list[Places]:
    """The PLACEs of each partition's pages: in WARC order, cut where `partition_mb` is full.

    A link that was fetched twice has the page of the last time. Links that share a record of a WARC file
    stand in the order in which they were first fetched.
    """
    pages = _fetched(corpus, increment)
    if not len(pages):
        return []
    by_key = np.lexsort((pages["key"][:, 1], pages["key"][:, 0]))  # stable: those of a key in their order
    keys = pages["key"][by_key]
    changes = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1))
    first, last = by_key[np.append(0, changes + 1)], by_key[np.append(changes, len(pages) - 1)]
    order = last[np.lexsort((first, pages["offset"][last], pages["file"][last]))]
    places, ends = pages["place"][order], np.cumsum(pages["length"][order])
    limit = math.ceil(corpus.recipe.collect.partition_mb * 1e6)
    parts: list[Places] = []
    start = before = 0
    while start < len(places):
        end = int(np.searchsorted(ends, before + limit)) + 1
        parts.append(places[start:end])
        start, before = end, int(ends[min(end, len(ends)) - 1])
    return parts


def _fetched(corpus: Corpus, increment: Increment) -> npt.NDArray[np.void]:
    """All rows of `fetches` that brought a page, as PAGEs; `file` is the rank of the file's name."""
    files: dict[str, int] = {}
    found = [np.empty(0, PAGE)]
    for number, record in enumerate(increment.records("fetches")):
        table = read_table(corpus.root, record.outputs[:1], FETCHED)
        rows = np.flatnonzero(pa.compute.equal(table["outcome"], "ok").to_numpy())
        table = table.take(pa.array(rows))
        pages = np.empty(len(rows), PAGE)
        pages["key"] = fixed_width(table["url_key"]).view(">u8").reshape(-1, 2)
        pages["file"] = [files.setdefault(name, len(files)) for name in table["warc_file"].to_pylist()]
        pages["offset"] = table["warc_offset"].to_numpy()
        pages["length"] = table["warc_length"].to_numpy()
        pages["place"]["record"], pages["place"]["row"] = number, rows
        found.append(pages)
    whole = np.concatenate(found)
    rank = np.empty(len(files), np.uint32)
    rank[np.array([files[name] for name in sorted(files)], np.intp)] = np.arange(len(files))
    whole["file"] = rank[whole["file"]]
    return whole


def run_part(
    corpus: Corpus,
    increment: Increment,
    number: int,
    places: Places,
    children: int,
    tick: Callable[[int], None],
) -> Record:
    """Extract one partition of `plan` by so many children at once; `tick` is told of pages.

    What other versions extracted is replaced, and its scores go with it. So none but an unfinished increment
    is given here: a closed one keeps the documents of its time.
    """
    part = f"part-{number:05d}"
    path = increment.path / STAGE / f"{part}.json"
    inputs = {
        output.path: output.xxh3_128
        for stage in ("links", "retries", "fetches")
        for record in increment.records(stage)
        for output in record.outputs
        if output.path.endswith(".parquet")
    }
    earlier, now = done(path, inputs), versions()
    # what was forgotten is remembered by its row, so the rows of such a partition stay as they are
    if earlier and (earlier.versions == now or tombstones.shingles(corpus.root, increment.number, number)):
        tick(earlier.entered)
        return earlier
    pages = _pages(corpus, increment, places)
    links = _links(corpus, increment, {page["url_key"] for page in pages})
    rows, lost = [], defaultdict[str, list[str]](list)
    for page, found in zip(pages, _extracted(corpus, pages, links, children), strict=True):
        tick(1)
        if reason := str(found) if isinstance(found, Misbehaved) else found.get("reason"):
            lost[reason].append(page["url_key"].hex())
        else:
            rows.append(_document(page, links[page["url_key"]], found))
    output = publish_table(
        corpus.root, increment.path / STAGE, part, pa.Table.from_pylist(rows, schema=SCHEMA)
    )
    reasons = {reason: len(keys) for reason, keys in lost.items()}
    notes = {"lost": dict(lost)} if lost else {}
    record = Record(STAGE, part, inputs, [output], len(pages), len(rows), reasons, now, notes)
    if not earlier:
        return commit(path, record)
    if earlier.outputs != record.outputs:  # first, so that a kill leaves no scores of other documents
        (increment.path / score.STAGE / path.name).unlink(missing_ok=True)
    return recommit(path, record)


def why_lost(increment: Increment, url_key: bytes) -> str | None:
    """The reason why a page of a link became no document; None if it did, or was never here."""
    key = url_key.hex()
    for record in increment.records(STAGE):
        for reason, keys in record.notes.get("lost", {}).items():
            if key in keys:
                return str(reason)
    return None


def versions() -> dict[str, str]:
    """What decides the documents, as it stands in every record of this stage."""
    ours = {"extract": str(VERSION), "unicode": unidata_version}
    return ours | {library: version(library) for library in LIBRARIES}


def _pages(corpus: Corpus, increment: Increment, places: Places) -> list[dict[str, Any]]:
    """The rows of `fetches` at some places, in their order. Memory: these and one table."""
    records = increment.records("fetches")
    found: dict[int, dict[str, Any]] = {}
    for number in np.unique(places["record"]).tolist():
        here = np.flatnonzero(places["record"] == number)
        table = read_table(corpus.root, records[number].outputs[:1], FETCHED)
        rows = table.take(pa.array(places["row"][here])).to_pylist()
        found |= dict(zip(here.tolist(), rows, strict=True))
    return [found[place] for place in range(len(places))]


def _extracted(
    corpus: Corpus, pages: list[dict[str, Any]], links: dict[bytes, dict[str, Any]], children: int
) -> Iterator[Any]:
    """For each page what `page_text.in_sandbox` makes of it, or how it misbehaved.

    Of links that were forgotten nothing is read: a page of the same bytes may stand there still.
    """
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
        if links[page["url_key"]]["url"]
    )
    limits = Limits(settings.cpu_seconds, settings.memory_mb << 20)
    found = iter(sandboxes.map(limits, calls, children))
    for page in pages:
        yield next(found) if links[page["url_key"]]["url"] else {"reason": tombstones.REASON}


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
