"""Counts between steps: what one step passed on is what the next was given, document for document.

A check compares files of one increment. It consists of parts. A part is a function of files to counts, so
any process can make it. The check adds the counts up and lists what does not fit. Keys are compared range by
range, and each range reads the whole columns of keys: to read a key takes a tenth of the time to sort it.

Memory of a part: 64 bytes for each of RANGE_KEYS keys, or the doc_ids of one tar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataprep.audit.funnel import judged
from dataprep.corpus.directory import Build, Corpus, Decisions, Increment
from dataprep.decontaminate import stage as decontaminate
from dataprep.selection.thresholds import KEPT
from dataprep.shards import text_shards
from dataprep.shards.text_shards import TextShard
from dataprep.store.calls import Run
from dataprep.store.external_sort import ranges
from dataprep.store.files import Output, read_batches
from dataprep.store.npy import fixed_width, mapped
from dataprep.store.pool import Tick
from dataprep.store.records import Record

RANGE_KEYS = 1 << 22
"""Keys that are compared at once, about."""
BATCH_ROWS = 1 << 16
ROW_BYTES, KEY_BYTES, SAMPLE_BYTES = 1 << 6, 1 << 10, 1 << 13
"""To read a row, to compare a key or to find a sample in a tar takes as long as to hash so many bytes."""

Part = tuple[str, list[Any]]
"""The name of one of COUNTS, and its arguments as JSON holds them: increments and builds by name."""
Keys = npt.NDArray[np.uint64]
"""(n, 2) keys of 16 bytes, each as two numbers, the first of which orders them."""


@dataclass(frozen=True)
class Check:
    """Counts that must fit together.

    lines: a function of the sum of all parts' counts to the lines on what does not fit. size: of each part,
    in bytes that could be hashed in the same time.
    """

    lines: Callable[[Counter[str]], Iterable[str]]
    parts: Sequence[Part] = ()
    size: int = 0


def mismatches(corpus: Corpus, run: Run) -> Iterator[str]:
    """What does not add up, one line each."""
    builds = [Build(path.name, path) for path in sorted((corpus.root / "builds").glob("*")) if path.is_dir()]
    scopes = [scope for build in builds for scope in judged(corpus, build)]
    unlike = _unlike_their_indexes(corpus, scopes, run)
    checks = list[Check]()
    for increment in corpus.increments():
        if increment.closed:
            checks += _facts(corpus, increment)
    for scope in scopes:
        checks += _decisions(corpus, scope.build, scope.increment, unlike)
    parts = [part for check in checks for part in check.parts]
    sizes = [check.size for check in checks for _ in check.parts]
    counted = iter(run("counts", partial(_count, corpus), parts, sizes))
    for check in checks:
        counts = Counter[str]()
        for _ in check.parts:
            counts.update(next(counted))
        yield from check.lines(counts)


def _count(corpus: Corpus, name: str, arguments: Sequence[Any], tick: Tick) -> Counter[str]:
    return COUNTS[name](corpus, *arguments)


def _unlike_their_indexes(corpus: Corpus, scopes: list[Decisions], run: Run) -> frozenset[str]:
    """The tars that hold other samples than their indexes name: they are read themselves, range by range."""
    shards = [shard for scope in scopes for shard in text_shards.shards(scope.build, scope.increment)]
    calls = [(msgspec.to_builtins(shard),) for shard in shards]
    sizes = [shard.tar.rows * SAMPLE_BYTES for shard in shards]
    unlike = run("tars", partial(_is_unlike_its_index, corpus), calls, sizes)
    return frozenset(shard.tar.path for shard, differs in zip(shards, unlike, strict=True) if differs)


def _is_unlike_its_index(corpus: Corpus, fields: dict[str, Any], tick: Tick) -> bool:
    shard = msgspec.convert(fields, TextShard)
    named = _named(corpus, shard)
    order = np.lexsort((named[:, 1], named[:, 0]))
    return not np.array_equal(named[order], _indexed(corpus, shard))


def _facts(corpus: Corpus, increment: Increment) -> Iterator[Check]:
    """Every link ended, every page was extracted, and every document was scored."""
    where = f"increments/{increment.path.name}"
    fetches = increment.outputs("fetch", "fetches")
    if fetches:  # imported documents were not fetched
        rows = sum(output.rows for output in increment.link_tables + fetches)
        yield _by_range(f"{where}/fetch", rows, "links_and_fetches", increment.path.name)
    if increment.parts("fetch"):
        rows = sum(output.rows for output in fetches)
        entered = sum(part.entered for part in increment.parts("extract"))

        def pages(counts: Counter[str]) -> Iterator[str]:
            if counts["ok"] != entered:
                yield f"{where}/extract: {entered:,} pages entered, but {counts['ok']:,} were fetched"

        yield Check(pages, [("pages", [increment.path.name])], rows * ROW_BYTES)
    yield Check(lambda _: _every_document_was_scored(increment, where))


def _every_document_was_scored(increment: Increment, where: str) -> Iterator[str]:
    documents = {part.part: part.passed for part in increment.parts("extract")}
    scores = {part.part: part.entered for part in increment.parts("score")}
    for part in sorted(documents.keys() | scores.keys()):
        if documents.get(part) != scores.get(part):
            yield (
                f"{where}/score/{part}: {scores.get(part, 0):,} documents entered, "
                f"but {documents.get(part, 0):,} were extracted"
            )


def _decisions(corpus: Corpus, build: Build, increment: Increment, unlike: frozenset[str]) -> Iterator[Check]:
    """Documents = verdicts, and kept = samples, of an increment that a build has judged."""
    where = str(build.of(increment).relative_to(corpus.root))
    parts = build.parts("verdicts", increment)
    verdicts = sum(part.entered for part in parts)
    documents = sum(part.passed for part in increment.parts("extract"))
    if verdicts != documents:
        yield Check(lambda _: [f"{where}/verdicts: {verdicts:,} verdicts of {documents:,} documents"])
    for part in parts:
        yield _every_verdict_is_counted(where, part)
    if build.has("shard", increment):  # else judged, and not yet written
        rows = 2 * verdicts  # each document twice at most, if it was kept
        tars = {tar.path for tar in text_shards.outputs(build, increment)}
        names = (increment.path.name, build.name)
        yield _by_range(f"{where}/shard", rows, "kept_and_written", *names, sorted(tars & unlike))


def _every_verdict_is_counted(where: str, record: Record) -> Check:
    recorded = +Counter({KEPT: record.passed, **record.reasons})

    def lines(counted: Counter[str]) -> Iterator[str]:
        if counted != recorded:
            yield f"{where}/verdicts/{record.part}: holds {dict(counted)}; its record counts {dict(recorded)}"

    output = msgspec.to_builtins(record.outputs["verdicts"])
    return Check(lines, [("verdicts", [output])], record.entered * ROW_BYTES)


def _by_range(where: str, rows: int, count: str, *arguments: Any) -> Check:
    """A check of keys: parts for their ranges, a line for each count that is not 0. rows: of all tables."""

    def lines(counts: Counter[str]) -> Iterator[str]:
        yield from (f"{where}: {number:,} {what}" for what, number in counts.items() if number)

    cut = ranges(-(-rows // RANGE_KEYS) or 1)
    size = rows * ROW_BYTES + rows * KEY_BYTES // len(cut)
    return Check(lines, [(count, [*arguments, *bounds]) for bounds in cut], size)


def _links_and_fetches(corpus: Corpus, name: str, low: int, high: int) -> Counter[str]:
    increment = _increment(corpus, name)
    links = _keys(corpus, increment.link_tables, "url_key", low, high)
    ended = _keys(corpus, increment.outputs("fetch", "fetches"), "url_key", low, high)
    _, never, unknown, _ = held_by([links, ended])
    return Counter({"links were never fetched": never, "fetches are of no link": unknown})


def _pages(corpus: Corpus, name: str) -> Counter[str]:
    """How many rows of fetches are of pages; a page is fetched once."""
    outputs = _increment(corpus, name).outputs("fetch", "fetches")
    batches = read_batches(corpus.root, outputs, BATCH_ROWS, ["outcome"])
    return Counter(ok=sum(pc.sum(pc.equal(batch["outcome"], "ok")).as_py() or 0 for batch in batches))


def _verdicts(corpus: Corpus, fields: dict[str, Any]) -> Counter[str]:
    counts = Counter[str]()
    for batch in read_batches(corpus.root, [msgspec.convert(fields, Output)], BATCH_ROWS, ["verdict"]):
        for each in pc.value_counts(batch["verdict"]).to_pylist():
            counts[each["values"]] += each["counts"]
    return counts


def _kept_and_written(
    corpus: Corpus, name: str, build_name: str, unlike: list[str], low: int, high: int
) -> Counter[str]:
    increment, build = _increment(corpus, name), corpus.named_build(build_name)
    verdicts = build.outputs("verdicts", "verdicts", increment)
    cut = decontaminate.tables(build, increment)
    kept = _keys(corpus, verdicts, "doc_id", low, high, KEPT)
    contaminated = _keys(corpus, cut, "doc_id", low, high, decontaminate.CONTAMINATED)
    shards = text_shards.shards(build, increment)
    written = [_doc_ids(corpus, shard, shard.tar.path in unlike, low, high) for shard in shards]
    held = held_by([kept, contaminated, np.concatenate([np.empty((0, 2), np.uint64), *written])])
    return Counter(
        {
            "kept documents are in no tar": held[0b001],
            "documents are in tars that were not kept": held[0b100] + held[0b110] + held[0b111],
        }
    )


COUNTS: dict[str, Callable[..., Counter[str]]] = {
    "links_and_fetches": _links_and_fetches,
    "pages": _pages,
    "verdicts": _verdicts,
    "kept_and_written": _kept_and_written,
}
"""The functions that count, by the names in parts."""


def _increment(corpus: Corpus, name: str) -> Increment:
    return Increment.at(corpus.root / "increments" / name)


def held_by(sides: Sequence[Keys]) -> list[int]:
    """How many distinct keys just some of two or three arrays hold: at 0b101, the first and the third.

    >>> held_by([np.array([[1, 5], [2, 5], [2, 5]], np.uint64), np.array([[2, 5], [2, 6]], np.uint64)])
    [0, 1, 1, 1]
    """
    keys = np.concatenate(sides)
    bits = np.repeat(np.array([1, 2, 4], np.uint8)[: len(sides)], [len(side) for side in sides])
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys = keys[order]
    new = np.ones(len(keys), np.bool_)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    held = np.bitwise_or.reduceat(bits[order], np.flatnonzero(new)) if len(keys) else bits
    return [int(number) for number in np.bincount(held, minlength=1 << len(sides))]


def _keys(corpus: Corpus, tables: list[Output], column: str, low: int, high: int, verdict: str = "") -> Keys:
    """The keys of some tables in a range, of rows with that verdict only if one is given."""
    found = [np.empty((0, 2), np.uint64)]
    for batch in read_batches(corpus.root, tables, BATCH_ROWS, [column, *(["verdict"] if verdict else [])]):
        rows = pa.table(batch)
        if verdict:
            rows = rows.filter(pc.equal(rows["verdict"], verdict))
        found.append(_inside(fixed_width(rows[column]).view(">u8").reshape(-1, 2), low, high))
    return np.concatenate(found)


def _doc_ids(corpus: Corpus, shard: TextShard, unlike_its_index: bool, low: int, high: int) -> Keys:
    """The doc_ids of a text shard in a range."""
    return _inside((_named if unlike_its_index else _indexed)(corpus, shard), low, high)


def _named(corpus: Corpus, shard: TextShard) -> Keys:
    """The doc_ids in the names of a tar's members, in order."""
    joined = b"".join(text_shards.doc_ids(corpus.root / shard.tar.path))
    return np.frombuffer(joined, ">u8").reshape(-1, 2).astype(np.uint64)


def _indexed(corpus: Corpus, shard: TextShard) -> Keys:
    """The doc_ids in the index of a text shard, sorted."""
    return np.asarray(mapped(corpus.root / shard.index.path)["doc_id"])


def _inside(keys: npt.NDArray[Any], low: int, high: int) -> Keys:
    inside = (keys[:, 0] >= np.uint64(low)) & (keys[:, 0] <= np.uint64(high - 1))
    return keys[inside].astype(np.uint64)
