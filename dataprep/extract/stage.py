"""Step `extract`: from fetched pages to documents with text.

A partition is a run of fetched pages, in the order of the WARC files, of about the recipe's `partition_mb`.
Each page becomes a document or one counted reason, under which the record's notes name it by its url_key.
Pages are read in sandboxed child processes, so that one which hangs, explodes or crashes is a reason, too.
Memory: one partition's documents, for each child what the recipe's `extraction.memory_mb` allows, and 8 bytes
a page of the increment (130 for the moment of planning).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from unicodedata import unidata_version

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus, Facts, Increment
from dataprep.extract.sandbox import Limits, Misbehaved, Sandboxes
from dataprep.store.files import Output, read_table
from dataprep.store.npy import fixed_width, mapped
from dataprep.store.records import step_path
from dataprep.store.step import Made, Part, Save, Task

STEP = "extract"
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
"""Where a fetched page stands: which of the parts of `fetch`, which row of its table."""
PAGE = np.dtype([("key", ">u8", 2), ("file", "<u4"), ("offset", "<i8"), ("length", "<i8"), ("place", PLACE)])

Places = npt.NDArray[np.void]


def plan(scope: Facts, save: Save) -> list[Part]:
    """The runs of pages: in WARC order, cut where `partition_mb` is full. `places` holds the PLACE of each.

    A link that was fetched twice has the page of the last time. Links that share a record of a WARC file
    stand in the order in which they were first fetched.
    """
    pages = _fetched(scope.corpus, scope.increment)
    if not len(pages):
        return []
    by_key = np.lexsort((pages["key"][:, 1], pages["key"][:, 0]))  # stable: those of a key in their order
    keys = pages["key"][by_key]
    changes = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1))
    first, last = by_key[np.append(0, changes + 1)], by_key[np.append(changes, len(pages) - 1)]
    order = last[np.lexsort((first, pages["offset"][last], pages["file"][last]))]
    save("places", pages["place"][order])
    ends = np.cumsum(pages["length"][order])
    limit = math.ceil(scope.corpus.recipe.collect.partition_mb * 1e6)
    parts: list[Part] = []
    start = before = 0
    while start < len(order):
        end = int(np.searchsorted(ends, before + limit)) + 1
        run = {"start": start, "end": min(end, len(order))}
        parts.append(Part(name=f"part-{len(parts):05d}", size=run["end"] - start, spec=run))
        start, before = end, int(ends[min(end, len(ends)) - 1])
    return parts


def _fetched(corpus: Corpus, increment: Increment) -> npt.NDArray[np.void]:
    """All rows of `fetch` that brought a page, as PAGEs; `file` is the rank of the file's name."""
    files: dict[str, int] = {}
    found = [np.empty(0, PAGE)]
    for number, output in enumerate(increment.outputs("fetch", "fetches")):
        table = read_table(corpus.root, [output], FETCHED)
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


def run(task: Task[Facts]) -> Made:
    """Extract one run of pages, by `task.processes` children at once."""
    corpus, increment = task.scope.corpus, task.scope.increment
    places = mapped(corpus.root / task.planned["places"].path)
    pages = _pages(corpus, increment, places[task.part.spec["start"] : task.part.spec["end"]])
    links = _links(corpus, increment, {page["url_key"] for page in pages})
    rows, lost = [], defaultdict[str, list[str]](list)
    for page, found in zip(pages, _extracted(corpus, pages, links, task.processes), strict=True):
        task.tick(1)
        if reason := str(found) if isinstance(found, Misbehaved) else found.get("reason"):
            lost[reason].append(page["url_key"].hex())
        else:
            rows.append(_document(page, links[page["url_key"]], found))
    return Made(
        outputs={"documents": task.publish_table(pa.Table.from_pylist(rows, schema=SCHEMA))},
        entered=len(pages),
        passed=len(rows),
        reasons={reason: len(keys) for reason, keys in lost.items()},
        notes=Lost(lost=dict(lost)) if lost else None,
    )


def remake(scope: Facts, part: Part) -> bool:
    """Whether documents that another version extracted may be replaced.

    A closed increment keeps the documents of its time. And what was forgotten is remembered by its row, so
    the rows of such a partition stay as they are.
    """
    gone = tombstones.shingles(scope.root, scope.increment.number, number_of(part.name))
    return not scope.increment.closed and not gone


def number_of(part: str) -> int:
    """The number of a partition that `plan` has named; tombstones know it by that."""
    return int(part.rpartition("-")[2])


def numbered(increment: Increment) -> Iterator[tuple[int, Output]]:
    """The number and the documents of each partition; while the step is under way, of those that are made."""
    whole = step_path(increment.path, STEP).exists()
    for place, made in enumerate(increment.parts(STEP)):
        yield place if whole else number_of(made.part), made.outputs["documents"]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Notes of a partition: the url_keys (hex) of its pages that gave no document, by reason."""

    lost: dict[str, list[str]] = field(default_factory=dict)


def why_lost(increment: Increment, url_key: bytes) -> str | None:
    """The reason why a page of a link became no document; None if it did, or was never here."""
    key = url_key.hex()
    for record in increment.records(STEP):
        for reason, keys in record.noted(Lost).lost.items():
            if key in keys:
                return reason
    return None


def versions(scope: Facts) -> dict[str, str]:
    """What decides the documents."""
    ours = {"extract": str(VERSION), "unicode": unidata_version}
    return ours | {library: version(library) for library in LIBRARIES}


def _pages(corpus: Corpus, increment: Increment, places: Places) -> list[dict[str, Any]]:
    """The rows of `fetch` at some places, in their order. Memory: these and one table."""
    outputs = increment.outputs("fetch", "fetches")
    found: dict[int, dict[str, Any]] = {}
    for number in np.unique(places["record"]).tolist():
        here = np.flatnonzero(places["record"] == number)
        table = read_table(corpus.root, [outputs[number]], FETCHED)
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
    for output in increment.link_tables:
        table = read_table(corpus.root, [output], LINK)
        chosen = pa.compute.is_in(table["url_key"], value_set=pa.array(keys, pa.binary(16)))
        links |= {row["url_key"]: row for row in table.filter(chosen).to_pylist()}
    return links
