"""Stage `score`: measurements beside the documents, never decisions.

Language, counts that the published heuristics use (Gopher, C4, FineWeb) and the MinHash signature, one row a
document in the order of its partition, so that thresholds can change without reading a page again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from dataprep.corpus import Corpus, Increment
from dataprep.documents import minhash
from dataprep.store import Record, commit, done, publish_table, read_table

STAGE = "scores"
VERSION = 1
LANGUAGE_CHARACTERS = 4000
"""The language is told from the first so many characters."""

STOP_WORDS = frozenset(["the", "be", "to", "of", "and", "that", "have", "with"])
"""Gopher's eight (Rae et al. 2021, appendix A)."""

SCHEMA = pa.schema(
    [
        ("doc_id", pa.binary(16)),
        ("language", pa.string()),
        ("characters", pa.int64()),
        ("words", pa.int64()),
        ("mean_word_length", pa.float64()),
        ("alphabetic", pa.float64()),
        ("stop_words", pa.int64()),
        ("duplicate_lines", pa.float64()),
        ("shingles", pa.int64()),
        ("signature", pa.binary(4 * minhash.PERMUTATIONS)),
    ]
)

_LETTER = re.compile(r"[^\W\d_]")


def run_part(corpus: Corpus, increment: Increment, documents: Record, tick: Callable[[int], None]) -> Record:
    """Measure one partition of documents."""
    path = increment.path / STAGE / f"{documents.part}.json"
    inputs = {output.path: output.xxh3_128 for output in documents.outputs}
    if record := done(path, inputs):
        tick(record.entered)
        return record
    rows = []
    for row in read_table(corpus.root, documents.outputs, ["doc_id", "text"]).to_pylist():
        rows.append({"doc_id": row["doc_id"], **measure(row["text"])})
        tick(1)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    output = publish_table(corpus.root, increment.path / STAGE, documents.part, table)
    versions = {"score": str(VERSION), "minhash": str(minhash.VERSION)}
    return commit(path, Record(STAGE, documents.part, inputs, [output], len(rows), len(rows), {}, versions))


def measure(text: str) -> dict[str, Any]:
    """All measurements of one text (the columns of SCHEMA but the first)."""
    words = text.split()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    grams = minhash.shingles(minhash.words(text))
    return {
        "language": language(text),
        "characters": len(text),
        "words": len(words),
        "mean_word_length": float(np.mean([len(word) for word in words])) if words else 0.0,
        "alphabetic": sum(1 for word in words if _LETTER.search(word)) / max(len(words), 1),
        "stop_words": len(STOP_WORDS & {word.lower() for word in words}),
        "duplicate_lines": 1 - len(set(lines)) / max(len(lines), 1),
        "shingles": len(grams),
        "signature": minhash.signature(grams).astype("<u4").tobytes(),
    }


def language(text: str) -> str:
    """ISO 639-1 code of the text's language."""
    import py3langid

    code, _ = py3langid.classify(text[:LANGUAGE_CHARACTERS])
    return str(code)
