"""Step `verdicts` of one range of documents: write down what the steps before it decided on each.

What an increment's documents become depends on the increments before it and never on later ones, so a build
is extended, not made again, when the corpus grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Decisions
from dataprep.selection import candidates, near_duplicates, thresholds
from dataprep.selection.near_duplicates import Compared
from dataprep.selection.workspace import PLACE_BITS, Workspace
from dataprep.store.npy import Pieces, between, fixed_width_column
from dataprep.store.records import records_in
from dataprep.store.step import Made, Part, Save, Task
from dataprep.text import minhash

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
"""One row a document of the range, in corpus order: (first_seen, url_key)."""


def plan(scope: Decisions, save: Save) -> list[Part]:
    """The ranges of `order`."""
    return Workspace(scope).ranges()


def run(task: Task[Decisions]) -> Made:
    """Write down what the steps before found on one of `plan`'s ranges: every document gets its verdict.

    What later increments need stays: the catalogue of each range, and with the first the band files.
    Memory: 16,384 rows; what the documents of a range repeat; tombstones.documents.
    """
    work, number, first = Workspace(task.scope), task.part.spec["number"], task.part.spec["start"]
    here = slice(number, number + 1)
    (catalogue,), (judged,) = work.arrays("order", "catalogue", here), work.arrays("order", "judged", here)
    repeated = _repeats(work, number, first, first + len(judged))
    counts, gone = Counter[str](), tombstones.documents(task.scope.root)
    written = task.attempt()
    with pq.ParquetWriter(written, SCHEMA, compression="zstd") as file:
        for start in range(0, len(judged), ROWS):
            rows = judged[start : start + ROWS]
            entries = catalogue[start : start + ROWS]
            begin, end = first + start, first + start + len(rows)
            repeats = between(repeated, "document", begin, end)
            table = _table(rows, entries, repeats, begin, work.catalogues, len(work.excluded))
            table = _forgotten(table, gone)
            counts.update(table["verdict"].to_pylist())
            file.write_table(table, row_group_size=ROWS)
            task.tick(len(rows))
    kept = counts.pop(thresholds.KEPT, 0)
    of_increment = [] if number else work.parts("candidates")
    compared = [] if number else records_in(task.scope.places["work"] / "near_duplicates")
    return Made(
        outputs={
            "verdicts": task.publish(written, ".parquet", rows=len(judged)),
            "catalogue": work.outputs("order", "catalogue")[number],
            **{f"bands/{part.part}": part.outputs["bands"] for part in of_increment},
        },
        entered=len(judged),
        passed=kept,
        reasons=dict(sorted(counts.items())),
        notes=Compared(compared=sum(record.noted(Compared).compared for record in compared)),
    )


def versions(scope: Decisions) -> dict[str, str]:
    """What decides which documents are alike."""
    return {"minhash": str(minhash.VERSION)}


def _repeats(work: Workspace, number: int, start: int, end: int) -> npt.NDArray[np.void]:
    """(n,) of near_duplicates.REPEAT, by document: what those of a range, in [start, end), repeat."""
    (copies,) = work.arrays("exact_duplicates", "copies", slice(number, number + 1))
    exact = np.empty(len(copies), near_duplicates.REPEAT)
    exact["document"], exact["place"], exact["similarity"] = copies["document"], copies["place"], EXACT
    parts = slice(start // near_duplicates.RANGE, -(-end // near_duplicates.RANGE))
    near = [
        between(repeats, "document", start, end)
        for repeats in work.arrays("near_duplicates", "repeats", parts)
    ]
    found = np.concatenate([exact, *near])
    return found[np.argsort(found["document"])]


def _table(
    rows: npt.NDArray[np.void],
    entries: npt.NDArray[np.void],
    repeats: npt.NDArray[np.void],
    start: int,
    catalogues: list[Pieces],
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
