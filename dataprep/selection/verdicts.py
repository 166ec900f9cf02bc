"""A build: the decisions of one selection over all increments, made one increment after the other.

What an increment's documents become depends on the increments before it and never on later ones, so a build
is extended, not made again, when the corpus grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.selection import candidates, corpus_order, exact_duplicates, near_duplicates, thresholds
from dataprep.selection.workspace import PLACE_BITS, Work
from dataprep.store.files import attempt_path, publish
from dataprep.store.npy import between, fixed_width_column
from dataprep.store.records import Record, commit, done
from dataprep.text import minhash

STEP = "verdicts"
REPEAT_REASONS = ("exact_duplicate", "near_duplicate", "excluded")
"""Why a repeated document is dropped; the last: it repeats one of another corpus, exactly or nearly."""
ROWS = 1 << 14
EXACT = 2.0
"""Stands for the similarity of an exact copy; texts that differ may still have equal shingles, J = 1."""

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("url_key", pa.binary(16)),
        ("text_key", pa.binary(16)),
        ("first_seen", pa.int64()),
        ("part", pa.int32()),
        ("row", pa.int32()),
        ("verdict", pa.string()),
        ("number", pa.float64()),
        ("repeats", pa.binary(16)),
    ]
)
"""One row a document of the increment, in corpus order: (first_seen, url_key)."""


def finished(work: Work) -> Record | None:
    """The record of an increment's verdicts, once they stand."""
    return done(work.build.path / STEP / f"{work.part}.json", work.inputs)


def run(corpus: Corpus, build: Build, increment: Increment, tick: Callable[[int], None]) -> Record:
    """Write down what the steps before found: every document gets its verdict. Then their files go.

    Memory: 16,384 rows; tombstones.documents.
    """
    work = Work.of(corpus, build, increment)
    ordered = work.records(corpus_order.STEP)[0]
    catalogue, judged = (work.array(output) for output in ordered.outputs[:2])
    catalogues = [*(source.catalogue() for source in work.earlier), catalogue]
    counts, gone = Counter[str](), tombstones.documents(corpus.root)
    written = attempt_path(build.path / STEP, work.part)
    with pq.ParquetWriter(written, SCHEMA, compression="zstd") as file:
        for start in range(0, len(judged), ROWS):
            rows = judged[start : start + ROWS]
            entries = catalogue[start : start + ROWS]
            repeats = _repeats(work, start, start + len(rows))
            table = _table(rows, entries, repeats, start, catalogues, work.excluded)
            table = _forgotten(table, gone)
            counts.update(table["verdict"].to_pylist())
            file.write_table(table, row_group_size=ROWS)
            tick(len(rows))
    output = publish(corpus.root, written, work.part, ".parquet", rows=len(judged))
    outputs = [output, ordered.outputs[0], *work.itself().band_files]
    kept = counts.pop(thresholds.KEPT, 0)
    versions = {"minhash": str(minhash.VERSION)}
    reasons = dict(sorted(counts.items()))
    notes = {"compared": sum(record.notes["compared"] for record in work.records(near_duplicates.STEP))}
    record = commit(
        build.path / STEP / f"{work.part}.json",
        Record(STEP, work.part, work.inputs, outputs, len(judged), kept, reasons, versions, notes),
    )
    work.clear()
    return record


def _repeats(work: Work, start: int, end: int) -> npt.NDArray[np.void]:
    """(n,) of near_duplicates.REPEAT, by document: what the documents in [start, end) repeat."""
    copies = between(exact_duplicates.listed(work), "document", start, end)
    exact = np.empty(len(copies), near_duplicates.REPEAT)
    exact["document"], exact["place"], exact["similarity"] = copies["document"], copies["place"], EXACT
    records = work.records(near_duplicates.STEP)[
        start // near_duplicates.RANGE : -(-end // near_duplicates.RANGE)
    ]
    near = [between(work.array(record.outputs[0]), "document", start, end) for record in records]
    found = np.concatenate([exact, *near])
    return found[np.argsort(found["document"])]


def _table(
    rows: npt.NDArray[np.void],
    entries: npt.NDArray[np.void],
    repeats: npt.NDArray[np.void],
    start: int,
    catalogues: list[npt.NDArray[np.void]],
    excluded: int,
) -> pa.Table:
    """The verdicts on some documents, of which the first is number `start`, and what they repeat; of the
    catalogues the first `excluded` are other corpora's."""
    at = repeats["document"].astype(np.int64) - start
    exact = repeats["similarity"] == EXACT
    elsewhere = repeats["place"] < np.uint64(excluded << PLACE_BITS)
    verdicts = rows["verdict"].astype("U64")
    verdicts[at] = np.where(elsewhere, "excluded", np.where(exact, "exact_duplicate", "near_duplicate"))
    numbers = rows["number"].copy()
    numbers[at] = np.where(exact, 1.0, repeats["similarity"])
    repeated = np.full(len(rows), None, object)
    repeated[at] = [doc_id.tobytes() for doc_id in candidates.look_up(catalogues, repeats["place"])["doc_id"]]
    columns = {
        "doc_id": fixed_width_column(entries["doc_id"]),
        "url_key": fixed_width_column(np.ascontiguousarray(rows["url_key"]).view("V16").ravel()),
        "text_key": fixed_width_column(entries["text_key"]),
        "first_seen": rows["first_seen"],
        "part": entries["part"].astype(np.int32),
        "row": entries["row"].astype(np.int32),
        "verdict": verdicts,
        "number": pa.array(numbers, mask=np.isnan(numbers)),
        "repeats": pa.array(repeated, pa.binary(16)),
    }
    return pa.table(columns, schema=SCHEMA)


def forgettable(table: pa.Table, gone: Set[bytes]) -> pa.ChunkedArray:
    """(rows,) which verdicts become `forgotten`: those that kept a document; others lost it before."""
    going = pc.is_in(table["doc_id"], value_set=pa.array(sorted(gone), pa.binary(16)))
    return pc.and_(going, pc.equal(table["verdict"], thresholds.KEPT))


def _forgotten(table: pa.Table, gone: frozenset[bytes]) -> pa.Table:
    """Verdicts with those on forgotten documents changed: they took part in all that was before."""
    if not gone:
        return table
    going = forgettable(table, gone)
    for name, value in (("verdict", tombstones.REASON), ("number", None), ("repeats", None)):
        field = SCHEMA.field(name)
        changed = pc.if_else(going, pa.scalar(value, field.type), table[name])
        table = table.set_column(SCHEMA.get_field_index(name), field, changed)
    return table
