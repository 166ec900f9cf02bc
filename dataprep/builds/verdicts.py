"""A build: the decisions of one selection over all increments, made one increment after the other.

What an increment's documents become depends on the increments before it and never on later ones, so a build
is extended, not made again, when the corpus grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.builds import dedup, select
from dataprep.corpus import Build, Corpus, Increment
from dataprep.documents import minhash
from dataprep.store import (
    Output,
    Record,
    attempt_path,
    commit,
    done,
    publish,
    publish_table,
    read_table,
)

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


def judge_increment(
    corpus: Corpus, build: Build, increment: Increment, tick: Callable[[int], None]
) -> Record:
    """Steps `select` and `dedup` of one increment: every document gets its verdict.

    The increments before it must be judged. Memory: the increment's measurements (about 0.7 KB a document)
    and the texts of duplicate candidates.
    """
    part = f"{increment.number:04d}"
    path = build.path / "verdicts" / f"{part}.json"
    facts = increment.records("documents") + increment.records("scores")
    earlier = [record for record in build.records("verdicts") if record.part < part]
    inputs = {output.path: output.xxh3_128 for record in facts + earlier for output in record.outputs}
    if record := done(path, inputs):
        tick(record.entered)
        return record

    rules = corpus.recipe.select
    rows = _rows_in_corpus_order(corpus, increment)
    chosen = [place for place, row in enumerate(rows) if row["verdict"] == select.KEPT]
    passed = dedup.Passed(
        np.array(chosen, np.uint32),
        [rows[place]["text_key"] for place in chosen],
        np.frombuffer(b"".join(rows[place]["signature"] for place in chosen), "<u4").reshape(
            len(chosen), minhash.PERMUTATIONS
        ),
        np.array([rows[place]["shingles"] for place in chosen], np.int64),
    )
    own = dedup.index(passed, rules.near_duplicates)
    indexes = [
        dedup.Index.load(corpus.root / record.outputs[1].path, corpus.root / record.outputs[2].path)
        for record in earlier
    ]
    look_up = _LookUp(corpus, [_verdicts(corpus, record) for record in earlier] + [rows])
    repeats = dedup.find_repeats(
        passed, [*indexes, own], rules.near_duplicates, look_up.text_key, look_up.shingles
    )
    for place, repeat in repeats.items():
        rows[place]["verdict"], rows[place]["number"] = repeat.reason, repeat.similarity
        rows[place]["repeats"] = look_up.row(repeat.index, repeat.document)["doc_id"]
    tick(len(rows))

    outputs = [
        publish_table(corpus.root, build.path / "verdicts", part, pa.Table.from_pylist(rows, schema=SCHEMA)),
        _publish_array(corpus, build, f"{part}-bands", own.bands),
        _publish_array(corpus, build, f"{part}-texts", own.texts),
    ]
    counts = Counter(row["verdict"] for row in rows)
    kept = counts.pop(select.KEPT, 0)
    versions = {"minhash": str(minhash.VERSION)}
    return commit(path, Record("verdicts", part, inputs, outputs, len(rows), kept, dict(counts), versions))


class _LookUp:
    """Documents by (place of their increment, row in its verdicts), for checking candidates."""

    def __init__(self, corpus: Corpus, verdicts: list[list[dict[str, Any]]]) -> None:
        self._corpus = corpus
        self._verdicts = verdicts
        self._increments = corpus.increments()
        self._texts = lru_cache(maxsize=8)(self._read_texts)
        self.shingles = lru_cache(maxsize=4096)(self._shingles)

    def row(self, increment: int, row: int) -> dict[str, Any]:
        return self._verdicts[increment][row]

    def text_key(self, increment: int, row: int) -> bytes:
        return bytes(self._verdicts[increment][row]["text_key"])

    def _shingles(self, increment: int, row: int) -> minhash.U64:
        place = self._verdicts[increment][row]
        text = self._texts(increment, place["part"])[place["row"]].as_py()
        return minhash.shingles(minhash.words(text))

    def _read_texts(self, increment: int, part: int) -> pa.ChunkedArray:
        record = self._increments[increment].records("documents")[part]
        return read_table(self._corpus.root, record.outputs, ["text"])["text"]


def _rows_in_corpus_order(corpus: Corpus, increment: Increment) -> list[dict[str, Any]]:
    """Identity, place, signature and the verdict by thresholds of all documents of an increment."""
    rows: list[dict[str, Any]] = []
    identity = ["url_key", "text_key", "first_seen"]
    for part, (documents, scores) in enumerate(
        zip(increment.records("documents"), increment.records("scores"), strict=True)
    ):
        measured = read_table(corpus.root, scores.outputs)
        verdicts, numbers = select.judge(measured, corpus.recipe.select)
        table = measured.select(["doc_id", "shingles", "signature"])
        table = table.append_column("verdict", pa.array(verdicts, pa.string()))
        table = table.append_column("number", pa.array(numbers, pa.float64()))
        for name in identity:
            table = table.append_column(name, read_table(corpus.root, documents.outputs, [name])[name])
        rows += [{**row, "part": part, "row": place} for place, row in enumerate(table.to_pylist())]
    return sorted(rows, key=lambda row: (row["first_seen"], row["url_key"]))


def _verdicts(corpus: Corpus, record: Record) -> list[dict[str, Any]]:
    table = pq.read_table(corpus.root / record.outputs[0].path, columns=["doc_id", "text_key", "part", "row"])
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _publish_array(corpus: Corpus, build: Build, stem: str, array: dedup.Entries) -> Output:
    written = attempt_path(build.path / "index", stem)
    with written.open("wb") as file:
        np.save(file, array)
    return publish(corpus.root, written, stem, ".npy", rows=array.shape[-1])
