"""Stage `score`: measurements beside the documents, never decisions.

Language, what the published heuristics measure (Gopher, C4, FineWeb), quality by the recipe's classifier and
the MinHash signature, one row a document in the order of its partition, so that thresholds can change without
reading a page again. Memory: 4,096 documents at once, whatever the partition's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any
from unicodedata import unidata_version

import pyarrow as pa
import pyarrow.parquet as pq

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus, Increment
from dataprep.errors import DataError
from dataprep.score.quality.model import Model, load
from dataprep.store.files import attempt_path, publish, read_batches
from dataprep.store.records import Record, commit, done, recommit
from dataprep.text import c4, fineweb, gopher, language, minhash

STAGE = "scores"
VERSION = 2
"""Raised by every change of what a measurement means."""

ROWS = 1 << 12
"""Documents that are measured at once, and of a row group."""

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
    """Measure one partition of documents; what other versions measured is replaced.

    A document whose text was forgotten since keeps the measurements that it had; its signature is made of the
    shingles that are left of it, so that its copies stay dropped.
    """
    path = increment.path / STAGE / f"{documents.part}.json"
    inputs = {output.path: output.xxh3_128 for output in documents.outputs}
    classifier, now = _classifier(corpus), versions(corpus)
    earlier = done(path, inputs)
    if earlier and earlier.versions == now:
        tick(earlier.entered)
        return earlier
    had = read_batches(corpus.root, earlier.outputs, ROWS) if earlier else repeat(None)
    texts = read_batches(corpus.root, documents.outputs, ROWS, ["doc_id", "text"])
    part = [record.part for record in increment.records(documents.stage)].index(documents.part)
    left = tombstones.shingles(corpus.root, increment.number, part)
    written, number = attempt_path(path.parent, documents.part), 0
    with pq.ParquetWriter(written, SCHEMA, compression="zstd") as file:
        for batch, before in zip(texts, had, strict=False):
            here = {row - number: left[row] for row in left if number <= row < number + len(batch)}
            file.write_table(_measured(batch, before, classifier, here))
            number += len(batch)
            tick(len(batch))
    output = publish(corpus.root, written, documents.part, ".parquet", rows=number)
    record = Record(STAGE, documents.part, inputs, [output], number, number, {}, now)
    return recommit(path, record) if earlier else commit(path, record)


def _measured(
    batch: pa.RecordBatch,
    before: pa.RecordBatch | None,
    classifier: Model | None,
    left: dict[int, minhash.U64],
) -> pa.Table:
    """The measurements of some documents; `before` has the same documents' own, where they were measured, and
    `left` the shingles of those that were forgotten, by row."""
    had = before.to_pylist() if before else []
    doc_ids, texts = batch["doc_id"].to_pylist(), [text or "" for text in batch["text"].to_pylist()]
    rows = []
    for place, measured in enumerate(measurements(texts, classifier)):
        row = measured if texts[place] or not had else had[place]
        signed = _signed(len(left[place]), minhash.signature(left[place])) if place in left else {}
        rows.append({**row, "doc_id": doc_ids[place], **signed})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def versions(corpus: Corpus) -> dict[str, str]:
    """What decides the measurements, as it stands in every record of this stage."""
    classifier = _classifier(corpus)
    return {
        "score": str(VERSION),
        "minhash": str(minhash.VERSION),
        "language": language.version(),
        "unicode": unidata_version,
        "quality": classifier.digest if classifier else "none",
    }


def outdated(corpus: Corpus) -> dict[str, str]:
    """The increments with scores that this version would not make, and in what they differ."""
    now = versions(corpus)
    found = {}
    for increment in corpus.increments():
        for record in increment.records(STAGE):
            if record.versions != now:
                differ = sorted(dict(record.versions.items() ^ now.items()))
                found[increment.path.name] = ", ".join(
                    f"{name} {record.versions.get(name, 'none')}, now {now.get(name, 'none')}"
                    for name in differ
                )
    return found


def refuse_mixture(corpus: Corpus) -> None:
    """Raise DataError when documents would be judged by measurements of other versions than this one."""
    if found := outdated(corpus):
        increments = "; ".join(f"{name} ({versions})" for name, versions in found.items())
        raise DataError(
            f"{corpus.root}: was scored by other versions: {increments}. Run `outbound corpus score "
            f"{corpus.root}`, which measures these documents anew and removes the builds that judged them"
        )


def _classifier(corpus: Corpus) -> Model | None:
    name = corpus.recipe.collect.quality
    return load(corpus.root / name) if name else None


def measure(text: str, classifier: Model | None = None) -> dict[str, Any]:
    """All measurements of one text (the columns of SCHEMA but the first); no quality without a classifier."""
    return next(measurements([text], classifier))


def measurements(texts: Sequence[str], classifier: Model | None) -> Iterator[dict[str, Any]]:
    """Those of each text; signatures are made of many texts at once."""
    for text, (shingles, signature) in zip(texts, minhash.sketches(texts), strict=True):
        code, probability = language.classify(text)
        words = text.split()
        yield {
            "language": code,
            "language_probability": probability,
            "characters": len(text),
            "words": len(words),
            **gopher.measure(text, words),
            **c4.measure(text),
            **fineweb.measure(text, words),
            "quality": classifier.score(text) if classifier else None,
            **_signed(shingles, signature),
        }


def _signed(shingles: int, signature: minhash.U32) -> dict[str, Any]:
    return {"shingles": shingles, "signature": signature.astype("<u4").tobytes()}
