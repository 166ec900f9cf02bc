"""Which records of a WARC file go: the exchanges of a link, redirects included, as a whole.

The crawler appends request, response and metadata of each exchange; the metadata tells whether the exchange
goes on with a visit that the one before it began. The address that a visit began with, or the `originalUri`
of an archive's copy, says whose it is. In files of other makers every exchange is a visit of its own.

A page of the same bytes is stored once, and other links refer to it (`revisits.py`). It goes with the link
whose address its record names; the other links keep their text and lose the bytes that it was taken from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataprep.corpus.urls import key_of
from dataprep.redact.scope import ForgetScope
from dataprep.warc.reader import WarcRecord, read_warc


@dataclass
class ArchivedVisit:
    """Exchanges that were made for one address; `owner` is the first that was asked for, or the original."""

    owner: str = ""
    records: list[WarcRecord] = field(default_factory=list)


def going(path: Path, name: str, scope: ForgetScope) -> list[tuple[int, int]]:
    """(offset, length) of the records of a WARC file that go; `name` is its path in the corpus."""
    found = []
    for visit in visits(path):
        whole = _goes(visit, name, scope)
        found += [
            (record.offset, record.length) for record in visit.records if whole or scope.url(record.url)
        ]
    return sorted(found)


def visits(path: Path) -> Iterator[ArchivedVisit]:
    """The visits of a WARC file in its order. Memory: one visit; of each record what its header says."""
    visit, exchange = ArchivedVisit(), list[WarcRecord]()
    for record in read_warc(path):
        if not isinstance(record, WarcRecord):  # damage: it names no address that could be asked for
            continue
        kind, fields = record.kind, _notes(record)
        head = WarcRecord(record.offset, record.length, record.fields, b"", record.alone)
        if kind == "metadata":
            if visit.records and _goes_on(visit, fields):
                visit.records += [*exchange, head]
            else:
                yield visit
                owner = fields.get("originalUri") or (exchange[0].url if exchange else record.url)
                visit = ArchivedVisit(owner, [*exchange, head])
            exchange = []
        elif kind == "request" or (exchange and exchange[-1].kind != "request"):
            yield from (visit, ArchivedVisit(exchange[0].url, exchange)) if exchange else ()
            visit, exchange = (ArchivedVisit(), [head]) if exchange else (visit, [head])
        else:
            exchange.append(head)
    yield visit
    if exchange:
        yield ArchivedVisit(exchange[0].url, exchange)


def _goes_on(visit: ArchivedVisit, notes: dict[str, str]) -> bool:
    """Whether metadata is of the next exchange of a visit: one more redirect, from its last address."""
    hops = sum(record.kind == "metadata" for record in visit.records)
    return notes.get("hopsFromSeed") == "R" * hops and notes.get("via") == visit.records[-1].url


def _notes(record: WarcRecord) -> dict[str, str]:
    """What a metadata record of the crawler says (`application/warc-fields`)."""
    if record.kind != "metadata" or len(record.block) > 1 << 16:
        return {}
    lines = record.block.decode("utf-8", "replace").split("\r\n")
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def _goes(visit: ArchivedVisit, name: str, scope: ForgetScope) -> bool:
    if scope.url(visit.owner):
        return True
    owner = key_of(visit.owner)
    if owner not in scope.onward:
        return False
    places = {(name, record.offset) for record in visit.records}
    return not places & scope.kept if owner in scope.staying else True
