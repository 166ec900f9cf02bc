"""Counts between steps: what one step passed on is what the next was given, document for document.

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
from dataprep.shards import text_shards
from dataprep.store.files import Output, read_table
from dataprep.store.records import Record

Keys = npt.NDArray[np.bytes_]
"""Keys of 16 bytes."""


def mismatches(corpus: Corpus) -> Iterator[str]:
    """What does not add up, one line each."""
    for increment in corpus.increments():
        if increment.closed:
            for check in FACTS:
                yield from check(corpus, increment)
    for path in sorted(path for path in (corpus.root / "builds").glob("*") if path.is_dir()):
        yield from _decisions(corpus, Build(path.name, path))


def _every_link_ended(corpus: Corpus, increment: Increment) -> Iterator[str]:
    fetches = increment.outputs("fetch", "fetches")
    if not fetches:  # imported documents were not fetched
        return
    links = _keys(corpus, increment.link_tables, "url_key")
    ended = _keys(corpus, fetches, "url_key")
    for number, what in (
        (len(np.setdiff1d(links, ended)), "links were never fetched"),
        (len(np.setdiff1d(ended, links)), "fetches are of no link"),
    ):
        if number:
            yield f"{_name(increment)}/fetch: {number:,} {what}"


def _every_page_was_extracted(corpus: Corpus, increment: Increment) -> Iterator[str]:
    pages = rounds.outcomes(corpus, [increment])["ok"]
    entered = sum(part.entered for part in increment.parts("extract"))
    if increment.parts("fetch") and pages != entered:
        yield f"{_name(increment)}/extract: {entered:,} pages entered, but {pages:,} were fetched"


def _every_document_was_scored(corpus: Corpus, increment: Increment) -> Iterator[str]:
    documents = {part.part: part.passed for part in increment.parts("extract")}
    scores = {part.part: part.entered for part in increment.parts("score")}
    for part in sorted(documents.keys() | scores.keys()):
        if documents.get(part) != scores.get(part):
            yield (
                f"{_name(increment)}/score/{part}: {scores.get(part, 0):,} documents entered, "
                f"but {documents.get(part, 0):,} were extracted"
            )


FACTS: list[Callable[[Corpus, Increment], Iterator[str]]] = [
    _every_link_ended,
    _every_page_was_extracted,
    _every_document_was_scored,
]


def _decisions(corpus: Corpus, build: Build) -> Iterator[str]:
    """Documents = verdicts, and kept = samples, in each increment that a build has judged."""
    for increment in corpus.increments():
        if not build.has("verdicts", increment):
            continue
        parts = build.parts("verdicts", increment)
        where = str(build.of(increment).relative_to(corpus.root))
        documents = sum(part.passed for part in increment.parts("extract"))
        verdicts = sum(part.entered for part in parts)
        if verdicts != documents:
            yield f"{where}/verdicts: {verdicts:,} verdicts of {documents:,} documents"
        for part in parts:
            yield from _every_verdict_is_counted(corpus, where, part)
        if build.has("shard", increment):  # else judged, and not yet written
            yield from _every_kept_document_is_written(corpus, build, increment, where)


def _every_verdict_is_counted(corpus: Corpus, where: str, record: Record) -> Iterator[str]:
    table = read_table(corpus.root, [record.outputs["verdicts"]], ["verdict"])
    counted = Counter(table["verdict"].to_pylist())
    recorded = Counter({KEPT: record.passed, **record.reasons})
    if counted != +recorded:
        yield f"{where}/verdicts/{record.part}: holds {dict(counted)}; its record counts {dict(+recorded)}"


def _every_kept_document_is_written(
    corpus: Corpus, build: Build, increment: Increment, where: str
) -> Iterator[str]:
    outputs = build.outputs("verdicts", "verdicts", increment)
    table = read_table(corpus.root, outputs, ["doc_id", "verdict"])
    verdicts = zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True)
    kept = {doc_id.hex() for doc_id, verdict in verdicts if verdict == KEPT}
    table = read_table(corpus.root, decontaminate.tables(build, increment), ["doc_id", "verdict"])
    kept -= {
        doc_id.hex()
        for doc_id, verdict in zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True)
        if verdict == decontaminate.CONTAMINATED
    }
    tars = text_shards.outputs(build, increment)
    written = {key for tar in tars for key in samples(corpus.root / tar.path)}
    for number, what in (
        (len(kept - written), "kept documents are in no tar"),
        (len(written - kept), "documents are in tars that were not kept"),
    ):
        if number:
            yield f"{where}/shard: {number:,} {what}"


def samples(tar: Path) -> set[str]:
    """The doc_ids of the samples of a text shard."""
    with tarfile.open(tar) as archive:
        return {name[:32] for name in archive.getnames() if name.endswith(".txt")}


def _keys(corpus: Corpus, tables: list[Output], column: str) -> Keys:
    """(n,) distinct keys in some tables, sorted."""
    columns = [read_table(corpus.root, [output], [column])[column] for output in tables]
    joined = b"".join(key for found in columns for key in found.to_pylist())
    return np.unique(np.frombuffer(joined, "S16"))


def _name(increment: Increment) -> str:
    return f"increments/{increment.path.name}"
