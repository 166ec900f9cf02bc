"""How the records of each step lose what is forgotten: one function a step.

A function is given one record and where it stands. It publishes what takes the place of the record's files,
under new names, and returns the record that will name them; nothing that stands is touched. A row that goes
is redacted: its keys stay, and its place, and nothing of what was written there. So every count and every
(part, row) stands, and what was lost is recorded in one place, by the verdict `forgotten`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from msgspec.structs import replace

from dataprep.corpus.tombstones import REASON
from dataprep.redact import warcs
from dataprep.redact.scope import ForgetScope
from dataprep.selection.thresholds import KEPT
from dataprep.selection.verdicts import forgettable
from dataprep.shards.rewrite import rewrite
from dataprep.shards.text_shards import TextShard
from dataprep.store.files import Output, hash_file, publish_table, read_table
from dataprep.store.records import Record, load_step, step_path
from dataprep.warc.filler import filled

KEPT_COLUMNS = frozenset("url_key doc_id text_key first_seen outcome status truncated".split())
"""What is left in a row that goes: hashes, and numbers and words that say nothing of the page."""
PLACE_COLUMNS = frozenset("warc_file warc_offset warc_length".split())
"""What is left of a fetch, too: by it pages are cut into partitions, which an open increment goes on with."""

IMPORTED = "warc-"
"""Parts made of files from elsewhere begin so; these hold more than the pages that entered."""

Row = dict[str, Any]


@dataclass
class Erasure:
    """What one forget has to do; `renames` are files that keep their name and change their content."""

    root: Path
    scope: ForgetScope
    renames: dict[str, str] = field(default_factory=dict)


def links(erasure: Erasure, path: Path, record: Record) -> Record:
    """Links and queues of retries: rows are redacted, submissions leave the lists of others."""
    if "links" not in record.outputs:
        return record  # the index, in which nothing could be read
    table = read_table(erasure.root, [record.outputs["links"]])
    relisted = pa.array(sorted(erasure.scope.relisted), pa.binary(16))
    named = pa.compute.is_in(table["url_key"], value_set=relisted)
    going = erasure.scope.rows(table)

    def changed(row: Row) -> Row:
        if erasure.scope.rows(pa.Table.from_pylist([row], schema=table.schema))[0]:
            return redacted(row)
        return row | {"submissions": _others(erasure, row["submissions"])}

    return _table(erasure, path, record, "links", table, going | named.to_numpy().astype(np.bool_), changed)


def fetch(erasure: Erasure, path: Path, record: Record) -> Record:
    """Rows are redacted, and records of WARC files become fillers, in the files where some go."""
    table = read_table(erasure.root, [record.outputs["fetches"]])
    going = erasure.scope.rows(table)
    if not going.any() and not path.stem.startswith(IMPORTED):
        return record
    left = KEPT_COLUMNS | PLACE_COLUMNS
    changed = _table(erasure, path, record, "fetches", table, going, lambda row: redacted(row, left))
    filled_in = {
        name: _warc(erasure, output) for name, output in record.outputs.items() if name.startswith("warc/")
    }
    return replace(changed, outputs=changed.outputs | filled_in)


def extract(erasure: Erasure, path: Path, record: Record) -> Record:
    """Documents are redacted: text, title, author, date, URL and the place in the WARC file are gone."""
    table = read_table(erasure.root, [record.outputs["documents"]])
    return _table(erasure, path, record, "documents", table, erasure.scope.rows(table), redacted)


def verdicts(erasure: Erasure, path: Path, record: Record) -> Record:
    """The verdict on a kept document that goes is `forgotten`; its keys and its place stay."""
    table = read_table(erasure.root, [record.outputs["verdicts"]])
    going = forgettable(table, erasure.scope.doc_ids).to_numpy().astype(np.bool_)

    def forgotten(row: Row) -> Row:
        return row | {"verdict": REASON, "number": None, "repeats": None}

    changed = _table(erasure, path, record, "verdicts", table, going, forgotten)
    if changed is record:
        return record
    now = read_table(erasure.root, [changed.outputs["verdicts"]], ["verdict"])
    counts = Counter(now["verdict"].to_pylist())
    passed = counts.pop(KEPT, 0)
    return replace(changed, passed=passed, reasons=dict(sorted(counts.items())))


def decontaminate(erasure: Erasure, path: Path, record: Record) -> Record:
    """Documents that go leave the table of those that were cut, and the counts."""
    gone = pa.array(sorted(erasure.scope.doc_ids), pa.binary(16))
    judged = load_step(step_path(path.parent.parent, "verdicts"))
    rows = read_table(erasure.root, judged.outputs("verdicts"), ["doc_id", "verdict"])
    kept = rows.filter(pa.compute.field("doc_id").isin(gone) & (pa.compute.field("verdict") == KEPT))
    table = read_table(erasure.root, [record.outputs["cut"]])
    cut = table.filter(pa.compute.field("doc_id").isin(gone))
    if not kept.num_rows:
        return record
    contaminated = cut.filter(pa.compute.field("verdict") != KEPT)["verdict"].to_pylist()
    counts = Counter(record.reasons) - Counter(contaminated)
    entered = record.entered - kept.num_rows
    left = table.filter(~pa.compute.field("doc_id").isin(gone))
    output = publish_table(erasure.root, path.parent, record.part, left)
    return replace(
        record,
        outputs=record.outputs | {"cut": output},
        entered=entered,
        passed=entered - counts.total(),
        reasons=dict(counts),
    )


def shard(erasure: Erasure, path: Path, record: Record) -> Record:
    """Samples leave their tar; submissions leave the lists in KEY.json."""
    if not record.outputs:
        return record
    gone: set[str] = set()

    def changed(about: Row) -> Row | None:
        if bytes.fromhex(about["doc_id"]) in doc_ids:
            gone.add(about["doc_id"])
            return None
        if bytes.fromhex(about["url_key"]) in erasure.scope.relisted:
            return about | {"submissions": _others(erasure, about["submissions"])}
        return about

    doc_ids = erasure.scope.doc_ids
    tar = TextShard(record.outputs["tar"], record.outputs["index"])
    outputs = rewrite(erasure.root, tar, changed)
    left = record.entered - len(gone)
    return replace(record, outputs=outputs, entered=left, passed=left)


def redacted(row: Row, left: Set[str] = KEPT_COLUMNS) -> Row:
    """What is left of a row: every column that is not in `left` is empty.

    >>> redacted({"url_key": b"k", "url": "http://a.test/", "karma": 3, "title": None, "submissions": [1]})
    {'url_key': b'k', 'url': '', 'karma': 0, 'title': None, 'submissions': []}
    """
    return {name: value if name in left or value is None else type(value)() for name, value in row.items()}


def _table(
    erasure: Erasure,
    path: Path,
    record: Record,
    name: str,
    table: pa.Table,
    mask: Any,
    change: Callable[[Row], Row],
) -> Record:
    """The record with its table of that name changed where `mask` says so; the record where nothing is."""
    if not mask.any():
        return record
    rows = [change(row) for row in table.filter(pa.array(mask)).to_pylist()]
    changed = pa.concat_tables(
        [table.filter(pa.array(~mask)), pa.Table.from_pylist(rows, schema=table.schema)]
    )
    order = np.argsort(np.concatenate([np.flatnonzero(~mask), np.flatnonzero(mask)]))
    output = publish_table(erasure.root, path.parent, record.part, changed.take(pa.array(order)))
    return replace(record, outputs=record.outputs | {name: output})


def _warc(erasure: Erasure, output: Output) -> Output:
    path = erasure.root / output.path
    if not (spans := warcs.going(path, output.path, erasure.scope)):
        return output
    copy = path.with_name(f".{path.name}.filled")
    filled(path, spans, copy)
    erasure.renames[str(copy.relative_to(erasure.root))] = output.path
    return replace(output, xxh3_128=hash_file(copy))


def _others(erasure: Erasure, submissions: list[Row]) -> list[Row]:
    return [submission for submission in submissions if submission["id"] not in erasure.scope.submissions]
