"""Counts between stages: what one stage passed on is what the next was given, document for document.

Each check is a function from a corpus to lines that say what does not add up. Memory: the keys of an
increment's links, or of its documents.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.crawl import rounds
from dataprep.decontaminate import stage as decontaminate
from dataprep.selection.thresholds import KEPT
from dataprep.store.files import read_table
from dataprep.store.records import Record

Keys = npt.NDArray[np.bytes_]
"""Keys of 16 bytes."""


def unbalanced(corpus: Corpus) -> Iterator[str]:
    """What does not add up, one line each."""
    for increment in corpus.increments():
        if increment.closed:
            for check in FACTS:
                yield from check(corpus, increment)
    for path in sorted(path for path in (corpus.root / "builds").glob("*") if path.is_dir()):
        yield from _decisions(corpus, Build(path.name, path))


def _every_link_ended(corpus: Corpus, increment: Increment) -> Iterator[str]:
    fetches = increment.records("fetches")
    if not fetches:  # what came by another door was fetched by nobody
        return
    links = _keys(corpus, increment.link_records, "url_key")
    ended = _keys(corpus, fetches, "url_key")
    for number, what in (
        (len(np.setdiff1d(links, ended)), "links were never fetched"),
        (len(np.setdiff1d(ended, links)), "fetches are of no link"),
    ):
        if number:
            yield f"{_name(increment)}/fetches: {number:,} {what}"


def _every_page_was_extracted(corpus: Corpus, increment: Increment) -> Iterator[str]:
    pages = rounds.outcomes(corpus, [increment])["ok"]
    entered = sum(record.entered for record in increment.records("documents"))
    if increment.records("fetches") and pages != entered:
        yield f"{_name(increment)}/documents: {entered:,} pages entered, but {pages:,} were fetched"


def _every_document_was_scored(corpus: Corpus, increment: Increment) -> Iterator[str]:
    documents = {record.part: record.passed for record in increment.records("documents")}
    scores = {record.part: record.entered for record in increment.records("scores")}
    for part in sorted(documents.keys() | scores.keys()):
        if documents.get(part) != scores.get(part):
            yield (
                f"{_name(increment)}/scores/{part}: {scores.get(part, 0):,} documents entered, "
                f"but {documents.get(part, 0):,} were extracted"
            )


FACTS: list[Callable[[Corpus, Increment], Iterator[str]]] = [
    _every_link_ended,
    _every_page_was_extracted,
    _every_document_was_scored,
]


def _decisions(corpus: Corpus, build: Build) -> Iterator[str]:
    """Documents = verdicts, and kept = samples, in each increment that a build has judged."""
    records = {record.part: record for record in build.records("verdicts")}
    for increment in corpus.increments():
        part = f"{increment.number:04d}"
        if part not in records:
            continue
        where = f"{build.path.relative_to(corpus.root)}"
        documents = sum(record.passed for record in increment.records("documents"))
        if records[part].entered != documents:
            yield f"{where}/verdicts/{part}: {records[part].entered:,} verdicts of {documents:,} documents"
        yield from _every_verdict_is_counted(corpus, where, records[part])
        yield from _every_kept_document_is_written(corpus, build, where, records[part])


def _every_verdict_is_counted(corpus: Corpus, where: str, record: Record) -> Iterator[str]:
    table = read_table(corpus.root, record.outputs[:1], ["verdict"])
    counted = Counter(table["verdict"].to_pylist())
    told = Counter({KEPT: record.passed, **record.reasons})
    if counted != +told:
        yield f"{where}/verdicts/{record.part}: holds {dict(counted)}, but the record says {dict(+told)}"


def _every_kept_document_is_written(
    corpus: Corpus, build: Build, where: str, record: Record
) -> Iterator[str]:
    texts = [text for text in build.records("text") if text.part.startswith(f"{record.part}-")]
    if not texts:  # judged, and not yet written
        return
    table = read_table(corpus.root, record.outputs[:1], ["doc_id", "verdict"])
    verdicts = zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True)
    kept = {doc_id.hex() for doc_id, verdict in verdicts if verdict == KEPT}
    cut = [each.outputs[0] for each in build.records(decontaminate.STEP) if each.part == record.part]
    table = read_table(corpus.root, cut, ["doc_id", "verdict"])
    kept -= {
        doc_id.hex()
        for doc_id, verdict in zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True)
        if verdict == decontaminate.CONTAMINATED
    }
    written = {key for text in texts for output in text.outputs for key in samples(corpus.root / output.path)}
    for number, what in (
        (len(kept - written), "kept documents are in no tar"),
        (len(written - kept), "documents are in tars that were not kept"),
    ):
        if number:
            yield f"{where}/text/{record.part}-*: {number:,} {what}"


def samples(tar: Path) -> set[str]:
    """The doc_ids of the samples of a text shard, none of any other file."""
    if tar.suffix != ".tar":
        return set()
    with tarfile.open(tar) as archive:
        return {name[:32] for name in archive.getnames() if name.endswith(".txt")}


def _keys(corpus: Corpus, records: list[Record], column: str) -> Keys:
    """(n,) distinct keys in the first table of each record, sorted."""
    tables = [read_table(corpus.root, record.outputs[:1], [column])[column] for record in records]
    joined = b"".join(key for table in tables for key in table.to_pylist())
    return np.unique(np.frombuffer(joined, "S16"))


def _name(increment: Increment) -> str:
    return f"increments/{increment.path.name}"
