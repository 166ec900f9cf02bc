"""Stage `score`: measurements beside the documents, never decisions.

Language, what the published heuristics measure (Gopher, C4, FineWeb), quality by the recipe's classifier and
the MinHash signature, one row a document in the order of its partition, so that thresholds can change without
reading a page again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dataprep.corpus import Corpus, Increment
from dataprep.documents import c4, fineweb, gopher, language, minhash
from dataprep.quality.model import Model, load
from dataprep.store import Record, commit, done, publish_table, read_table

STAGE = "scores"
VERSION = 2
"""Raised by every change of what a measurement means."""

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("language", pa.string()),
        ("language_probability", pa.float64()),
        ("characters", pa.int64()),
        ("words", pa.int64()),
        *gopher.COLUMNS,
        *c4.COLUMNS,
        *fineweb.COLUMNS,
        ("quality", pa.float32()),
        ("shingles", pa.int64()),
        ("signature", pa.binary(4 * minhash.PERMUTATIONS)),
    ]
)


def run_part(corpus: Corpus, increment: Increment, documents: Record, tick: Callable[[int], None]) -> Record:
    """Measure one partition of documents."""
    path = increment.path / STAGE / f"{documents.part}.json"
    inputs = {output.path: output.xxh3_128 for output in documents.outputs}
    if record := done(path, inputs):
        tick(record.entered)
        return record
    rows = []
    classifier = _classifier(corpus)
    for row in read_table(corpus.root, documents.outputs, ["doc_id", "text"]).to_pylist():
        rows.append({"doc_id": row["doc_id"], **measure(row["text"], classifier)})
        tick(1)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    output = publish_table(corpus.root, increment.path / STAGE, documents.part, table)
    record = Record(STAGE, documents.part, inputs, [output], len(rows), len(rows), {}, versions(corpus))
    return commit(path, record)


def versions(corpus: Corpus) -> dict[str, str]:
    """What decides the measurements, as it stands in every record of this stage."""
    classifier = _classifier(corpus)
    return {
        "score": str(VERSION),
        "minhash": str(minhash.VERSION),
        "language": language.version(),
        "quality": classifier.digest if classifier else "none",
    }


def _classifier(corpus: Corpus) -> Model | None:
    name = corpus.recipe.collect.quality
    return load(corpus.root / name) if name else None


def measure(text: str, classifier: Model | None = None) -> dict[str, Any]:
    """All measurements of one text (the columns of SCHEMA but the first); no quality without a classifier."""
    code, probability = language.classify(text)
    words = text.split()
    grams = minhash.shingles(text)
    return {
        "language": code,
        "language_probability": probability,
        "characters": len(text),
        "words": len(words),
        **gopher.measure(text, words),
        **c4.measure(text),
        **fineweb.measure(text, words),
        "quality": classifier.score(text) if classifier else None,
        "shingles": len(grams),
        "signature": minhash.signature(grams).astype("<u4").tobytes(),
    }
