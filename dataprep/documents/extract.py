"""Stage `extract`: from fetched pages to documents with text (trafilatura).

A partition is a run of fetched pages, in the order of the WARC files, of about the recipe's `partition_mb`.
Each page becomes a document or one counted reason. Memory: one partition's documents.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from dataprep.corpus import Corpus, Increment
from dataprep.errors import DataError
from dataprep.recipe import Extraction
from dataprep.store import Record, commit, done, publish_table, read_table

STAGE = "documents"

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("url_key", pa.binary(16)),
        ("url", pa.string()),
        ("site", pa.string()),
        ("title", pa.string()),
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

FETCHED = ["url_key", "outcome", "content_type", "warc_file", "warc_offset", "warc_length"]
LINK = ["url_key", "url", "site", "karma", "first_seen"]


class Unreadable(Exception):
    """A page that gives no document; the argument is the reason to count."""


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
    tick: Callable[[int], None],
) -> Record:
    """Extract one partition of `plan`; `tick` is told of pages."""
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
    for page in pages:
        tick(1)
        try:
            rows.append(document(corpus.root, page, links[page["url_key"]], corpus.recipe.collect.extraction))
        except Unreadable as reason:
            reasons[str(reason)] += 1
    output = publish_table(
        corpus.root, increment.path / STAGE, part, pa.Table.from_pylist(rows, schema=SCHEMA)
    )
    versions = {"trafilatura": _trafilatura_version()}
    return commit(path, Record(STAGE, part, inputs, [output], len(pages), len(rows), dict(reasons), versions))


def document(root: Path, page: dict[str, Any], link: dict[str, Any], settings: Extraction) -> dict[str, Any]:
    """The document of one fetched page; raises Unreadable with the reason when there is none."""
    body, day = page_body(root / page["warc_file"], page["warc_offset"])
    found = _extract(body, page["content_type"], link["url"], day, settings)
    text = found["text"].strip() if found["text"] else ""
    if not text:
        raise Unreadable("no_text")
    content = text.encode("utf-8", "replace")
    return {
        **link,
        **found,
        "text": content.decode("utf-8"),
        "doc_id": xxhash.xxh3_128_digest(link["url_key"] + content),
        "text_key": xxhash.xxh3_128_digest(content),
        **{name: page[name] for name in ("warc_file", "warc_offset", "warc_length")},
    }


def page_body(warc: Path, offset: int) -> tuple[bytes, str]:
    """The decoded body of the response record at an offset, and the day of its capture.

    Raises Unreadable for a record that is damaged, down to a flipped bit in its digest's block, and
    DataError when the file is gone.
    """
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    try:
        with warc.open("rb") as file:
            file.seek(offset)
            record = next(iter(ArchiveIterator(file, check_digests="raise")))
            if record.rec_type != "response":
                raise Unreadable("damaged_record")
            return record.content_stream().read(), record.rec_headers.get_header("WARC-Date", "")[:10]
    except FileNotFoundError:
        raise DataError(f"{warc}: is missing; restore it from a copy and run the command again") from None
    except (ArchiveLoadFailed, StopIteration, EOFError, OSError, ValueError, zlib.error):
        raise Unreadable("damaged_record") from None


def _extract(body: bytes, content_type: str, url: str, day: str, settings: Extraction) -> dict[str, Any]:
    """Title, date and text of a page; the latest date allowed is the day of its capture, never today."""
    if content_type == "text/plain":
        return {"title": None, "date": None, "text": body.decode("utf-8", "replace")}
    import trafilatura

    try:
        found = trafilatura.bare_extraction(
            body,
            url=url,
            with_metadata=True,
            date_extraction_params={"max_date": day, "extensive_search": False, "original_date": True},
            **settings.model_dump(),
        )
    except Exception as error:  # a hostile page may break the parser anywhere; it costs this page only
        raise Unreadable(f"extractor_{type(error).__name__}") from None
    if found is None:
        raise Unreadable("no_text")
    return {"title": found.title, "date": found.date, "text": found.text}


def _links(corpus: Corpus, increment: Increment, keys: set[bytes]) -> dict[bytes, dict[str, Any]]:
    """The link rows of some URL keys, of links that entered here and of those that are retried here."""
    links: dict[bytes, dict[str, Any]] = {}
    for record in increment.link_records:
        table = read_table(corpus.root, record.outputs[:1], LINK)
        chosen = pa.compute.is_in(table["url_key"], value_set=pa.array(keys, pa.binary(16)))
        links |= {row["url_key"]: row for row in table.filter(chosen).to_pylist()}
    return links


@cache
def _trafilatura_version() -> str:
    from importlib.metadata import version

    return version("trafilatura")
