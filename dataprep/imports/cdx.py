"""Kind `cdx`: which captures of an archive's index are the links' pages (CDXJ, of Common Crawl and pywb).

A line is `SURT TIMESTAMP {JSON}`, with url, mime, status, length, offset and filename. Of a link's captures
of status 200 and a page's type, the one counts that is nearest after `first_seen`; if there is none after it,
the last before. Index files are streamed line by line, each by itself. Memory: 24 bytes a link, and the best
capture of each link that the file knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.urls import Canonical, canonical
from dataprep.crawl.partitioning import PART_LINKS
from dataprep.imports.captures import CRAWLER
from dataprep.imports.inputs import Input
from dataprep.imports.warc import WORK
from dataprep.store.decompress import Unreadable, lines
from dataprep.store.external_sort import SortedSpill
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import publish_table, read_table
from dataprep.store.loose_json import loose_struct
from dataprep.store.records import Record, commit, done

LONGEST_LINE_BYTES = 1 << 20
LARGEST = 1 << 60
"""No file has so many bytes."""
BATCH = 8192
"""Lines whose URLs are looked up at once."""

FOUND = pa.schema(
    [
        ("key_high", pa.uint64()),
        ("key_low", pa.uint64()),
        ("before", pa.bool_()),
        ("distance", pa.int64()),
        ("filename", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)
"""The best capture of a link in one index file: whether it is from before the link's first_seen, and how many
seconds away; and the byte range of its record."""


class Entry(msgspec.Struct, gc=False):
    """What an index line says of a capture; numbers stand there as strings."""

    url: str
    filename: str
    offset: int | str
    length: int | str
    status: int | str = ""
    mime: str = ""
    detected: str = msgspec.field(default="", name="mime-detected")
    timestamp: str = ""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A line that may be the page of some link."""

    link: Canonical
    time: int
    filename: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A link, and the byte range of its page in the archive; filename "" if the archive has none."""

    url: str
    url_key: bytes
    site: str
    filename: str = ""
    offset: int = 0
    length: int = 0


def search(
    corpus: Corpus,
    increment: Increment,
    number: int,
    each: Input,
    hashes: dict[str, str],
    tick: Callable[[int], None],
) -> Record:
    """The best captures of the increment's links that one index file lists; `tick` counts lines."""
    part = f"part-{number:05d}"
    path = increment.path / WORK / f"{part}.json"
    inputs = {each.name: hashes[each.name]}
    if record := done(path, inputs):
        tick(record.entered)
        return record
    links = LinkLookup.of(corpus, increment)
    best: dict[bytes, tuple[bool, int, str, int, int]] = {}
    reasons: Counter[str] = Counter()
    damage = FileDamage(each.name)
    read = _candidates(each, damage, reasons, tick)
    while batch := list(islice(read, BATCH)):
        for candidate, first_seen in links.those_of(batch, reasons):
            before = candidate.time < first_seen
            place = (candidate.filename, candidate.offset, candidate.length)
            rank = (before, abs(candidate.time - first_seen), *place)
            known = best.setdefault(candidate.link.key, rank)
            reasons["repeated_capture"] += known is not rank
            if rank < known:
                best[candidate.link.key] = rank
    rows = [dict(zip(FOUND.names, (*_halves(key), *rank), strict=True)) for key, rank in sorted(best.items())]
    table = publish_table(corpus.root, path.parent, part, pa.Table.from_pylist(rows, schema=FOUND))
    record = Record(
        step=WORK,
        part=part,
        inputs=inputs,
        outputs={"captures": table},
        entered=damage.lines,
        passed=len(rows),
        reasons=dict(+reasons),
        notes=msgspec.to_builtins(InputNotes(damage=[damage] if damage.found else [])),
    )
    return commit(path, record)


def plan(corpus: Corpus, increment: Increment) -> Iterator[list[Wanted]]:
    """The increment's links in partitions of about `partition_mb` of pages, each with its best capture."""
    limit = corpus.recipe.collect.partition_mb * 1e6
    with SortedSpill(increment.path / WORK, FOUND) as found:
        for record in increment.records(WORK):
            found.add(read_table(corpus.root, [record.outputs["captures"]]))
        part: list[Wanted] = []
        size = 0
        for output in increment.outputs("links", "links"):
            links = read_table(corpus.root, [output], ["url", "url_key", "site"]).to_pylist()
            if not links:
                continue
            ends = (_halves(links[0]["url_key"])[0], _halves(links[-1]["url_key"])[0] + 1)
            captures = _best(found.read(*ends))
            for link in links:
                if size >= limit or len(part) >= PART_LINKS:
                    yield part
                    part, size = [], 0
                wanted = Wanted(**link, **captures.get(link["url_key"], {}))
                part.append(wanted)
                size += wanted.length
        yield part


@dataclass(frozen=True, kw_only=True)
class IndexNotes:
    """What the search counted, for a record that stays: lines of the index, and what was damaged in it."""

    index_lines: int = 0
    damage: list[FileDamage] = field(default_factory=list)

    @staticmethod
    def of(increment: Increment) -> IndexNotes:
        records = increment.records(WORK)
        return IndexNotes(
            index_lines=sum(record.entered for record in records),
            damage=[damage for record in records for damage in record.noted(InputNotes).damage],
        )


class LinkLookup:
    """The links of an increment, to be looked up: sorted halves of url_key, and first_seen."""

    def __init__(
        self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], seen: npt.NDArray[np.int64]
    ):
        order = np.lexsort((low, high))
        self._high, self._low, self._seen = high[order], low[order], seen[order]

    @staticmethod
    def of(corpus: Corpus, increment: Increment) -> LinkLookup:
        table = read_table(corpus.root, increment.outputs("links", "links"), ["url_key", "first_seen"])
        keys = np.frombuffer(b"".join(table["url_key"].to_pylist()), ">u8").astype(np.uint64).reshape(-1, 2)
        return LinkLookup(keys[:, 0], keys[:, 1], table["first_seen"].to_numpy())

    def those_of(self, batch: list[Candidate], reasons: Counter[str]) -> Iterator[tuple[Candidate, int]]:
        """The candidates whose URL is a link, each with the link's first_seen; the others are counted."""
        keys = (
            np.frombuffer(b"".join([candidate.link.key for candidate in batch]), ">u8")
            .astype(np.uint64)
            .reshape(-1, 2)
        )
        rows = np.searchsorted(self._high, keys[:, 0])
        for candidate, row, (high, low) in zip(batch, rows.tolist(), keys.tolist(), strict=True):
            while row < len(self._high) and self._high[row] == high and self._low[row] != low:
                row += 1  # two links whose first halves collide
            if row < len(self._high) and self._high[row] == high:
                yield candidate, int(self._seen[row])
            else:
                reasons["no_link"] += 1


def _candidates(
    each: Input, damage: FileDamage, reasons: Counter[str], tick: Callable[[int], None]
) -> Iterator[Candidate]:
    """The lines of an index file that are pages."""
    decoder = msgspec.json.Decoder(Entry)
    with each.path.open("rb") as file:
        try:
            for number, line in enumerate(lines(file, LONGEST_LINE_BYTES), start=1):
                damage.lines += 1
                if damage.lines % BATCH == 0:
                    tick(BATCH)
                try:
                    found = _candidate(line, decoder)
                except (ValueError, RecursionError) as error:
                    damage.note(f"line {number:,}", error)
                    reasons["bad_record"] += 1
                    continue
                if found is None:
                    reasons["no_page"] += 1
                else:
                    yield found
        except (Unreadable, OSError) as error:
            damage.stopped = str(error)
    tick(damage.lines % BATCH)


def _candidate(line: bytes, decoder: msgspec.json.Decoder[Entry]) -> Candidate | None:
    """What a line offers; None when it is no page of the web. Raises ValueError when it is no index line."""
    start = line.find(b"{")
    if start < 0:
        raise ValueError("no JSON in it: an index in CDXJ is needed")
    try:
        entry = decoder.decode(line[start:])
    except (ValueError, RecursionError):
        entry = loose_struct(line[start:], Entry)
    mime = entry.mime if entry.mime not in ("", "unk") else entry.detected
    if str(entry.status) != "200" or mime not in CRAWLER.content_types:
        return None
    try:
        link = canonical(entry.url)
    except ValueError:
        return None
    stamp = line[:start].split()[-1].decode() if line[:start].strip() else entry.timestamp
    offset, length = int(entry.offset), int(entry.length)
    if not (0 <= offset < LARGEST and 0 < length < LARGEST):
        raise ValueError(f"no byte range: {offset}, {length}")
    return Candidate(link=link, time=_seconds(stamp), filename=entry.filename, offset=offset, length=length)


def _seconds(stamp: str) -> int:
    """A timestamp of 14 digits in seconds since 1970."""
    return int(datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())


def _best(captures: pa.Table) -> dict[bytes, dict[str, Any]]:
    """The best capture of each link over all index files, by url_key."""
    best: dict[bytes, dict[str, Any]] = {}
    order = [(name, "ascending") for name in FOUND.names]
    for row in captures.sort_by(order).to_pylist():
        key = row["key_high"].to_bytes(8, "big") + row["key_low"].to_bytes(8, "big")
        best.setdefault(key, {name: row[name] for name in ("filename", "offset", "length")})
    return best


def _halves(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")
