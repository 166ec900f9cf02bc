"""Rows of imported files as documents, in partitions as `extract` leaves them.

A task is a run of inputs, or of a Parquet file's row groups, of about the recipe's `partition_mb`. It reads
them as a stream and commits a partition whenever that much text has come together, so that compressed files
of any size need no more memory than others. Memory: 4,096 documents.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from datetime import date as day
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Links
from dataprep.corpus.tombstones import REASON, Forgotten
from dataprep.corpus.urls import Canonical, canonical
from dataprep.extract import stage as extract
from dataprep.imports.captures import is_robots_txt
from dataprep.imports.dates import seconds
from dataprep.imports.inputs import Input
from dataprep.links.rules import refused
from dataprep.store.file_damage import FileDamage
from dataprep.store.files import attempt_path, publish
from dataprep.store.loose_json import BYTE_ORDER_MARK
from dataprep.store.records import Record, commit, done

ROWS = 1 << 12
"""Documents that are written at once."""
PARTITION = 1 << 17
"""Documents of a partition at most, however short: later steps hold its measurements, 1 KB each."""

_LINE_ENDS = re.compile("\r\n?")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Which columns of a JSONL or Parquet file are read; "" for none.

    undated: the `first_seen` of what has no date, in seconds since 1970.
    """

    text: str = "text"
    url: str = "url"
    title: str = "title"
    date: str = "date"
    undated: int = 0


@dataclass(frozen=True)
class ReadTask:
    """What one worker reads: inputs one after the other, or the row groups [low, high) of a Parquet file."""

    number: int
    inputs: list[Input]
    groups: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Row:
    """One row of an input as it stands there; `number` counts them from 1.

    text: "" if there is none. first_seen: its date, in seconds since 1970, 0 if it has none.
    loss: the reason to count if the row is damaged, else ""; detail says more about it.
    """

    number: int
    _: KW_ONLY
    text: str = ""
    url: str = ""
    title: str | None = None
    date: str | None = None
    first_seen: int = 0
    loss: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class RowNotes:
    """Notes of a partition: how many events of its task are in it, whether it is the task's last, and what of
    the inputs so far is damaged."""

    read: int = 0
    last: bool = False
    damage: list[FileDamage] = field(default_factory=list)


Reader = Callable[[ReadTask, Input, Fields, FileDamage], Iterator[Row]]
"""Reads one input of a task; where it cannot go on, it says so in the damage and ends."""


def of_columns(number: int, columns: Mapping[str, Any], fields: Fields) -> Row:
    """A row from the columns of its file; a value that is no text counts as missing.

    Bytes are read as UTF-8, because Parquet files often have text in columns of bytes. Raises
    UnicodeDecodeError where they are not UTF-8.
    """

    def found(column: str) -> str:
        value = columns.get(column) if column else None
        if isinstance(value, bytes):
            return value.decode()
        return value if isinstance(value, str) else ""

    when = columns.get(fields.date)
    if isinstance(when, day):  # as Parquet has them; a datetime is one, too
        date = when.isoformat()
    elif isinstance(when, int | float | Decimal) and not isinstance(when, bool) and seconds(float(when)):
        date = datetime.fromtimestamp(seconds(float(when)), UTC).isoformat()
    else:
        date = found(fields.date)
    return Row(
        number,
        text=found(fields.text),
        url=found(fields.url),
        title=found(fields.title) or None,
        date=date or None,
        first_seen=seconds(date),
    )


def run_task(
    corpus: Corpus,
    increment: Increment,
    task: ReadTask,
    read: Reader,
    fields: Fields,
    hashes: dict[str, str],
    tick: Callable[[int], None],
) -> list[Record]:
    """Make the documents of a task; `tick` counts rows. What is committed stays as it is."""
    inputs = {input_file.name: hashes[input_file.name] for input_file in task.inputs}
    records: list[Record] = []

    def name() -> str:
        return f"part-{task.number:05d}-{len(records):05d}"

    while found := done(increment.path / extract.STEP / f"{name()}.json", inputs):
        records.append(found)
        tick(found.entered)
        if found.noted(RowNotes).last:
            return records
    begun = sum(record.noted(RowNotes).read for record in records)
    part = _Part(corpus, increment, name())
    limit = corpus.recipe.collect.partition_mb * 1e6
    for event, (input_file, row, damage) in enumerate(_rows(task, read, fields)):
        if event < begun:
            continue
        if row and (part.text_bytes >= limit or part.documents >= PARTITION):
            records.append(part.commit(inputs, last=False))
            part = _Part(corpus, increment, name())
        part.add(input_file, row, damage)
        tick(1 if row else 0)
    records.append(part.commit(inputs, last=True))
    return records


def _rows(task: ReadTask, read: Reader, fields: Fields) -> Iterator[tuple[Input, Row | None, FileDamage]]:
    """The rows of all inputs, each with its input and its damage up to here; None after an input's last."""
    for input_file in task.inputs:
        damage = FileDamage(input_file.name)
        for row in read(task, input_file, fields, damage):
            damage.lines += 1
            if row.loss:
                damage.note(f"row {row.number:,}", row.detail or row.loss)
            yield input_file, row if row.first_seen else replace(row, first_seen=fields.undated), damage
        if not damage.lines and not damage.stopped:
            damage.stopped = "holds nothing"
        yield input_file, None, damage


class _Part:
    """The documents of one partition that is being made."""

    def __init__(self, corpus: Corpus, increment: Increment, name: str) -> None:
        self.documents = self.text_bytes = 0
        self._name = name
        self._directory = increment.path / extract.STEP
        self._corpus = corpus
        self._forgotten = Forgotten.of(corpus.root)
        self._read = 0
        self._rows = 0
        self._gathered: list[dict[str, Any]] = []
        self._written = attempt_path(self._directory, name)
        self._file = pq.ParquetWriter(self._written, extract.SCHEMA, compression="zstd")
        self._reasons: Counter[str] = Counter()
        self._damage: dict[str, FileDamage] = {}

    def add(self, each: Input, row: Row | None, damage: FileDamage) -> None:
        """Take a row in, or note that an input has ended (None)."""
        self._read += 1
        self._damage[each.name] = damage
        if row is None:
            return
        self._rows += 1
        made = document(each, row, self._corpus.recipe.collect.links, self._forgotten)
        if isinstance(made, str):
            self._reasons[made] += 1
        else:
            self._gathered.append(made)
            self.documents += 1
            self.text_bytes += len(made["text"].encode())
            if len(self._gathered) == ROWS:
                self._write()

    def _write(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._gathered, schema=extract.SCHEMA))
        self._gathered = []

    def commit(self, inputs: dict[str, str], *, last: bool) -> Record:
        """Publish the documents and their record. `notes` say where the next partition goes on."""
        self._write()
        self._file.close()
        output = publish(self._corpus.root, self._written, self._name, ".parquet", rows=self.documents)
        damage = [damage for damage in self._damage.values() if damage.found]
        record = Record(
            step=extract.STEP,
            part=self._name,
            inputs=inputs,
            outputs={"documents": output},
            entered=self._rows,
            passed=self.documents,
            reasons=dict(self._reasons),
            notes=msgspec.to_builtins(RowNotes(read=self._read, last=last, damage=damage)),
        )
        return commit(self._directory / f"{self._name}.json", record)


def document(each: Input, row: Row, rules: Links, forgotten: Forgotten) -> dict[str, Any] | str:
    """A row of `documents`, or the reason why there is none.

    A row without a URL, or with one that is none, is named by its place in its file. What the recipe takes
    nothing from is not imported, either. A line ends in a line feed, whatever the system that wrote it.
    """
    if row.loss:
        return row.loss
    text = _LINE_ENDS.sub("\n", row.text.removeprefix(BYTE_ORDER_MARK).strip())
    content = text.encode("utf-8", "replace")
    if not content:
        return "no_text"
    url, site = each.url(row.number), ""
    key = xxhash.xxh3_128_digest(url.encode())
    try:
        link = canonical(row.url)
    except ValueError:
        pass
    else:
        if reason := refused(link, rules) or ("robots_txt" if is_robots_txt(link) else ""):
            return reason
        url, key, site = link.url, link.key, link.site
    if forgotten.covers(Canonical(url, key, site)):
        return REASON
    return {
        "doc_id": xxhash.xxh3_128_digest(key + content),
        "url_key": key,
        "url": url,
        "site": site,
        "title": row.title,
        "date": row.date,
        "text": content.decode(),
        "first_seen": row.first_seen,
        "text_key": xxhash.xxh3_128_digest(content),
    }
