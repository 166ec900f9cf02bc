"""The layers of a corpus, and how each loses what is forgotten: one small function for each, in one list.

A layer is given one record of its stage. It publishes what takes the place of the record's files, under new
names, and gives the record that will name them; nothing that stands is touched. A row that goes stays as a
husk: its keys and its place, and nothing of what was written there. So every count and every (part, row)
stands, and what was lost is told in one place, by the verdict `forgotten`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataprep.corpus.directory import Corpus
from dataprep.corpus.tombstones import REASON
from dataprep.forget import warcs
from dataprep.forget.scope import Scope
from dataprep.selection.thresholds import KEPT
from dataprep.selection.verdicts import forgettable
from dataprep.shards.rewrite import rewritten
from dataprep.shards.text_shards import TextShard
from dataprep.store.files import Output, hash_file, publish_table, read_table
from dataprep.store.records import Record, load_record
from dataprep.warc.filler import filled

HUSK = frozenset("url_key doc_id text_key first_seen outcome status".split())
"""What is left in a row that goes: hashes, and numbers and words that say nothing of the page."""
PLACE = frozenset("warc_file warc_offset warc_length".split())
"""What is left of a fetch, too: by it pages are cut into partitions, which an open increment goes on with."""

IMPORTED = "warc-"
"""Records of files from elsewhere begin so; these hold more than the pages that entered."""

Row = dict[str, Any]


@dataclass
class Work:
    """What one forget has to do; `renames` are files that keep their name and change their content."""

    corpus: Corpus
    scope: Scope
    renames: dict[str, str] = field(default_factory=dict)


Layer = Callable[[Work, Path, Record], Record]


def links(work: Work, path: Path, record: Record) -> Record:
    """Links and queues of retries: rows become husks, submissions leave the lists of others."""
    table = read_table(work.corpus.root, record.outputs[:1])
    named = pa.compute.is_in(table["url_key"], value_set=pa.array(sorted(work.scope.relisted), pa.binary(16)))
    going = work.scope.rows(table)

    def changed(row: Row) -> Row:
        if work.scope.rows(pa.Table.from_pylist([row], schema=table.schema))[0]:
            return husk(row)
        return row | {"submissions": _others(work, row["submissions"])}

    return _table(work, path, record, table, going | named.to_numpy().astype(np.bool_), changed)


def fetches(work: Work, path: Path, record: Record) -> Record:
    """Rows of fetches become husks, records of WARC files fillers, in the files where some go."""
    table = read_table(work.corpus.root, record.outputs[:1])
    going = work.scope.rows(table)
    changed = _table(work, path, record, table, going, lambda row: husk(row, HUSK | PLACE))
    if not going.any() and not path.stem.startswith(IMPORTED):
        return record
    outputs = [*changed.outputs[:1], *(_warc(work, output) for output in changed.outputs[1:])]
    return replace(changed, outputs=outputs)


def documents(work: Work, path: Path, record: Record) -> Record:
    """Documents become husks: text, title, author, date, URL and the place in the WARC file are gone."""
    table = read_table(work.corpus.root, record.outputs[:1])
    return _table(work, path, record, table, work.scope.rows(table), husk)


def verdicts(work: Work, path: Path, record: Record) -> Record:
    """The verdict on a kept document that goes is `forgotten`; its keys and its place stay."""
    table = read_table(work.corpus.root, record.outputs[:1])
    going = forgettable(table, work.scope.doc_ids).to_numpy().astype(np.bool_)

    def forgotten(row: Row) -> Row:
        return row | {"verdict": REASON, "number": None, "repeats": None}

    changed = _table(work, path, record, table, going, forgotten)
    if changed is record:
        return record
    counts = Counter(read_table(work.corpus.root, changed.outputs[:1], ["verdict"])["verdict"].to_pylist())
    passed = counts.pop(KEPT, 0)
    return replace(changed, passed=passed, reasons=dict(sorted(counts.items())))


def clean(work: Work, path: Path, record: Record) -> Record:
    """Documents that go leave the table of those that were cut, and the counts."""
    root, gone = work.corpus.root, _doc_ids(work)
    judged = load_record(path.parent.parent / "verdicts" / path.name)
    verdicts = read_table(root, judged.outputs[:1], ["doc_id", "verdict"])
    kept = verdicts.filter(pa.compute.field("doc_id").isin(gone) & (pa.compute.field("verdict") == KEPT))
    table = read_table(root, record.outputs[:1])
    cut = table.filter(pa.compute.field("doc_id").isin(gone))
    if not kept.num_rows:
        return record
    contaminated = cut.filter(pa.compute.field("verdict") != KEPT)["verdict"].to_pylist()
    counts = Counter(record.reasons) - Counter(contaminated)
    entered = record.entered - kept.num_rows
    left = table.filter(~pa.compute.field("doc_id").isin(gone))
    output = publish_table(root, path.parent, record.part, left)
    return replace(
        record,
        outputs=[output, *record.outputs[1:]],
        entered=entered,
        passed=entered - counts.total(),
        reasons=dict(counts),
    )


def text(work: Work, path: Path, record: Record) -> Record:
    """Samples leave their tar; submissions leave the lists in KEY.json."""
    if not record.outputs:
        return record
    gone: set[str] = set()

    def changed(about: Row) -> Row | None:
        if bytes.fromhex(about["doc_id"]) in doc_ids:
            gone.add(about["doc_id"])
            return None
        if bytes.fromhex(about["url_key"]) in work.scope.relisted:
            return about | {"submissions": _others(work, about["submissions"])}
        return about

    doc_ids = work.scope.doc_ids
    outputs = rewritten(work.corpus, TextShard(*record.outputs), changed)
    left = record.entered - len(gone)
    return replace(record, outputs=outputs, entered=left, passed=left)


def unchanged(work: Work, path: Path, record: Record) -> Record:
    """Nothing that could be read: keys, counts, measurements."""
    return record


LAYERS: dict[str, Layer] = {
    "index": unchanged,
    "links": links,
    "retries": links,
    "fetches": fetches,
    "documents": documents,
    "scores": unchanged,
    "verdicts": verdicts,
    "evals": unchanged,  # of evaluation sets
    "hits": unchanged,
    "clean": clean,
    "text": text,
    "done": unchanged,  # of earlier tombstones
}
"""By the folder of their records. A folder that is not here is refused before anything is done."""


def husk(row: Row, left: Set[str] = HUSK) -> Row:
    """What is left of a row: every column that is not of HUSK is empty.

    >>> husk({"url_key": b"k", "url": "http://a.test/", "karma": 3, "title": None, "submissions": [1]})
    {'url_key': b'k', 'url': '', 'karma': 0, 'title': None, 'submissions': []}
    """
    return {name: value if name in left or value is None else type(value)() for name, value in row.items()}


def _table(
    work: Work, path: Path, record: Record, table: pa.Table, mask: Any, change: Callable[[Row], Row]
) -> Record:
    """The record with its first table changed where `mask` says so; the record itself where nothing is."""
    if not mask.any():
        return record
    rows = [change(row) for row in table.filter(pa.array(mask)).to_pylist()]
    changed = pa.concat_tables(
        [table.filter(pa.array(~mask)), pa.Table.from_pylist(rows, schema=table.schema)]
    )
    order = np.argsort(np.concatenate([np.flatnonzero(~mask), np.flatnonzero(mask)]))
    output = publish_table(work.corpus.root, path.parent, record.part, changed.take(pa.array(order)))
    return replace(record, outputs=[output, *record.outputs[1:]])


def _warc(work: Work, output: Output) -> Output:
    path = work.corpus.root / output.path
    if not (spans := warcs.going(path, output.path, work.scope)):
        return output
    copy = path.with_name(f".{path.name}.filled")
    filled(path, spans, copy)
    work.renames[str(copy.relative_to(work.corpus.root))] = output.path
    return replace(output, xxh3_128=hash_file(copy))


def _others(work: Work, submissions: list[Row]) -> list[Row]:
    return [each for each in submissions if each["id"] not in work.scope.submissions]


def _doc_ids(work: Work) -> pa.Array:
    return pa.array(sorted(work.scope.doc_ids), pa.binary(16))
