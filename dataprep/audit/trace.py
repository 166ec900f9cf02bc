"""`corpus trace`: provenance both ways.

Back from a document, or from a token, to its WARC record, its URL and its submissions; forth from a URL or a
submission to what became of it: how it was fetched, its documents, their verdicts, and where their text lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dataprep.audit.rows import rows_with
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.urls import key_of
from dataprep.decontaminate import stage as decontaminate
from dataprep.errors import DataError, UsageError
from dataprep.extract import stage as extract
from dataprep.extract.page import UnreadablePage, read_page
from dataprep.links.index import LinkIndex, scattered
from dataprep.links.karma import naming
from dataprep.links.posts import submission_number
from dataprep.pack import positions
from dataprep.pack.manifest import ERASED, Generation, latest_generation
from dataprep.shards import text_shards
from dataprep.store.files import Output, read_table

Found = dict[str, Any]

FETCHED = "outcome status final_url warc_file warc_offset warc_length detail truncated".split()
"""The columns of a fetch that `trace` shows."""
SHOWN = "url title author date karma warc_file warc_offset warc_length".split()
"""Those of a document."""
DOCUMENT = ["doc_id", "url_key", *SHOWN]
LINK = "url site karma first_seen submissions".split()
"""Those of a link."""

_DOC_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[0-9a-z_]{1,20}", re.IGNORECASE)


def trace(corpus: Corpus, what: str, tokens: Path | None = None) -> Found:
    """All that the corpus knows of a doc_id (32 hex digits), a URL or a submission's id.

    tokens: also say where in these token shards the documents lie. Raises DataError when nothing is known.
    """
    if _DOC_ID.fullmatch(what):
        return of_document(corpus, bytes.fromhex(what), tokens)
    if ":" in what:
        return _of_links(corpus, what, "url", *_links_to(corpus, key_of(what)), tokens)
    if _IDENTIFIER.fullmatch(what):
        return _of_links(corpus, what, "submission", *_links_by(corpus, what), tokens)
    raise DataError(f"{what!r}: is no doc_id (32 hex digits), no URL and no submission's id")


def find(corpus: Corpus, what: str | None, *, tokens: Path | None, split: str, position: int | None) -> Found:
    """What `trace` or `of_token` finds, by what a command names.

    Raises UsageError unless it names just one thing, and token shards with a position.
    """
    if (what is None) == (position is None):
        raise UsageError("give a doc_id, a URL or a submission's id, or --tokens DIR --position N instead")
    if what is not None:
        return trace(corpus, what, tokens)
    if tokens is None or position is None:
        raise UsageError(f"--position {position}: of which token shards? give --tokens DIR, too")
    return of_token(corpus, tokens, split, position)


def of_token(corpus: Corpus, tokens: Path, split: str, position: int) -> Found:
    """The document that a token of a split's stream belongs to."""
    span = positions.document_at(tokens, generation(tokens), split, position)
    if span.doc_id == ERASED:
        raise DataError(f"--position {position}: the document that was there is forgotten")
    place = {"split": split, "position": position, "in_document": position - span.start}
    return {"token": place, **of_document(corpus, span.doc_id, tokens)}


def of_document(corpus: Corpus, doc_id: bytes, tokens: Path | None = None) -> Found:
    """A document: its verdict, its text's places, its WARC record, its URL and its submissions."""
    for increment in corpus.increments():
        document = _row(corpus, increment.outputs("extract", "documents"), "doc_id", doc_id, DOCUMENT)
        if document:
            return _document(corpus, increment, document, tokens)
    raise DataError(f"{doc_id.hex()}: no such document in {corpus.root}")


def generation(tokens: Path) -> Generation:
    """The newest generation of a directory of token shards; raises DataError when there is none."""
    found = latest_generation(tokens)
    if found is None:
        raise DataError(f"{tokens}: no generation-N.json here; make one with `outbound pack`")
    return found


def _document(corpus: Corpus, increment: Increment, document: Found, tokens: Path | None) -> Found:
    doc_id = document["doc_id"]
    link = _row(corpus, increment.link_tables, "url_key", document["url_key"], ["submissions"]) or {}
    tables = increment.outputs("fetch", "fetches")
    fetches = [*rows_with(corpus.root, tables, "url_key", [document["url_key"]], ["truncated"])]
    found = {
        "doc_id": doc_id.hex(),
        "increment": increment.path.name,
        **_verdict(corpus, increment, doc_id),
        **{name: document[name] for name in SHOWN},
        "truncated": fetches[-1].get("truncated", "") if fetches else "",
        "submissions": link.get("submissions"),
        "text": list(_tars(corpus, increment, doc_id)),
    }
    if tokens:
        spans = positions.places_of(tokens, generation(tokens), doc_id)
        found["tokens"] = [{"split": span.split, "start": span.start, "end": span.end} for span in spans]
    return found


def _verdict(corpus: Corpus, increment: Increment, doc_id: bytes) -> Found:
    """What the current build decided, None where it has not judged the increment."""
    build = corpus.build
    tables = build.outputs("verdicts", "verdicts", increment) if build else []
    row = _row(corpus, tables, "doc_id", doc_id, ["verdict", "number", "repeats"]) or {}
    if tables and (cut := _cut(corpus, increment, doc_id)):
        return {"verdict": cut["verdict"], "number": cut["number"], "pieces": cut["pieces"], "repeats": None}
    repeats = row.get("repeats")
    return {
        "verdict": row.get("verdict"),
        "number": row.get("number"),
        "repeats": repeats.hex() if repeats else None,
    }


def _cut(corpus: Corpus, increment: Increment, doc_id: bytes) -> Found | None:
    """What decontamination cut out of a document of the current build, if it did."""
    tables = decontaminate.tables(corpus.current_build(), increment)
    return _row(corpus, tables, "doc_id", doc_id, ["verdict", "number", "pieces"])


def _tars(corpus: Corpus, increment: Increment, doc_id: bytes) -> Iterator[str]:
    """The text shards of the current build that hold a document."""
    if corpus.has_build:
        for shard in text_shards.shards(corpus.current_build(), increment):
            if text_shards.read_document(corpus.root, shard, doc_id):
                yield shard.tar.path


def _of_links(
    corpus: Corpus, what: str, kind: str, links: list[Found], keys: set[bytes], tokens: Path | None
) -> Found:
    """What became of links: how the last fetch of each ended, why it gave no document, and its documents."""
    fetches, documents = list[Found](), list[Found]()
    for increment in corpus.increments():
        for key in sorted(keys):
            tables = increment.outputs("fetch", "fetches")
            fetched = [*rows_with(corpus.root, tables, "url_key", [key], FETCHED)]
            why = {"no_document": extract.why_lost(increment, key)}
            fetches += [{name: row.get(name, "") for name in FETCHED} | why for row in fetched[-1:]]
            tables = increment.outputs("extract", "documents")
            for document in rows_with(corpus.root, tables, "url_key", [key], DOCUMENT):
                documents.append(_document(corpus, increment, document, tokens))
    if not (links or fetches or documents):
        raise DataError(f"{what}: {_why_unlisted(corpus, what, kind)}")
    return {kind: what, "links": links, "fetches": fetches, "documents": documents}


def _why_unlisted(corpus: Corpus, what: str, kind: str) -> str:
    """Why no link tells of a URL or a submission: the index may still know that it was counted."""
    unknown = f"{corpus.root} knows no such {kind}; what a recipe's rules refuse is counted, not kept"
    indexes = [index for increment in corpus.increments() if (index := corpus.index(increment))]
    if not indexes:
        return unknown
    known = LinkIndex.load(corpus.root, indexes[-1])
    if kind == "url":
        high, low = (int(half) for half in np.frombuffer(key_of(what), ">u8"))
        for row in known.urls_in(high, high + 1):
            if int(row["key"][1]) == low and not row["entered"]:
                return (
                    f"has not entered {corpus.root}: its karma so far, {int(row['karma'])}, is below the bar"
                )
        return unknown
    number = int(scattered(np.array([submission_number(what)], np.uint64))[0])
    if not len(known.submissions_in(number, number + 1)):
        return unknown
    return (
        f"was counted in {corpus.root}, but is in no link's list: its link is below the bar, had entered "
        "before it, or is forgotten"
    )


def _links_to(corpus: Corpus, key: bytes) -> tuple[list[Found], set[bytes]]:
    links = [
        _link(increment, row)
        for increment in corpus.increments()
        for row in rows_with(corpus.root, increment.outputs("links", "links"), "url_key", [key], LINK)
    ]
    return links, {key}


def _links_by(corpus: Corpus, identifier: str) -> tuple[list[Found], set[bytes]]:
    """The links that a submission gave. (What stayed below the bar left only its karma in the index.)"""
    links, keys = list[Found](), set[bytes]()
    for increment in corpus.increments():
        for output in increment.outputs("links", "links"):
            table = read_table(corpus.root, [output])
            for row in table.take(naming(table["submissions"], [identifier])).to_pylist():
                links.append(_link(increment, row))
                keys.add(row["url_key"])
    return links, keys


def _link(increment: Increment, row: Found) -> Found:
    return {"increment": increment.path.name, **{name: row[name] for name in LINK}}


def _row(
    corpus: Corpus, tables: list[Output], column: str, key: bytes, columns: Iterable[str]
) -> Found | None:
    """The first row of some tables whose `column` is `key`."""
    return next(rows_with(corpus.root, tables, column, [key], list(columns)), None)


def text_of(corpus: Corpus, found: Found) -> str:
    """The text of a traced document; raises DataError when it was forgotten."""
    doc_id = bytes.fromhex(found["doc_id"])
    increment = Increment.at(corpus.root / "increments" / found["increment"])
    row = _row(corpus, increment.outputs("extract", "documents"), "doc_id", doc_id, ["text"]) or {}
    if not row.get("text"):
        raise DataError(f"{found['doc_id']}: its text was forgotten")
    return str(row["text"])


def page_of(corpus: Corpus, found: Found) -> bytes:
    """The decoded body of a traced document's page, from its WARC record.

    Raises DataError when it has none: because it was imported as text, forgotten or damaged.
    """
    if not found["warc_file"]:
        raise DataError(f"{found['doc_id']}: has no WARC record; it was forgotten, or came without one")
    try:
        place = corpus.root / found["warc_file"], found["warc_offset"], found["warc_length"]
        return read_page(*place, corpus.recipe.collect.extraction.max_bytes).body
    except UnreadablePage:
        raise DataError(
            f"{found['warc_file']}: byte {found['warc_offset']:,} holds no response; it was forgotten with "
            "another link that led to the same page, or is damaged (`outbound corpus verify` tells)"
        ) from None
