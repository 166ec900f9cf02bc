"""Step `select` of one partition: the verdict of the thresholds, and the band buckets of what passes.

Memory: the measurements of 16,384 documents, and about 1 KB for each of the partition, which an import ends
at 131,072.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.directory import Corpus, Decisions
from dataprep.selection import bands, thresholds
from dataprep.selection.bands import Buckets, Scheme
from dataprep.selection.workspace import Workspace
from dataprep.store.files import Output, read_batches, read_table
from dataprep.store.npy import fixed_width
from dataprep.store.step import Made, Part, Save, Task
from dataprep.text import minhash

ROWS = 1 << 14
"""Documents that are judged at once."""

DOCUMENT = np.dtype(
    [
        ("first_seen", "<i8"),
        ("url_key", ">u8", (2,)),
        ("doc_id", "V16"),
        ("text_key", "V16"),
        ("row", "<u4"),
        ("shingles", "<u4"),
        ("verdict", "S64"),
        ("number", "<f8"),
    ]
)
"""One document of a partition, in corpus order: (first_seen, url_key). No number is NaN."""

IDENTITY = ["doc_id", "url_key", "text_key", "first_seen"]


def plan(scope: Decisions, save: Save) -> list[Part]:
    """A part for each partition of documents, of its name."""
    return [Part(name=part.part, size=part.passed) for part in scope.increment.parts("extract")]


def run(task: Task[Decisions]) -> Made:
    """Apply the thresholds to one partition of documents of an increment."""
    corpus, scheme = task.scope.corpus, Workspace(task.scope).scheme
    documents, scores = (
        next(part for part in task.scope.increment.parts(step) if part.part == task.part.name).outputs[name]
        for step, name in (("extract", "documents"), ("score", "scores"))
    )
    rows = _identities(corpus, documents)
    found = _judged(corpus, scores, rows, scheme)
    task.tick(len(rows))
    order = corpus_order(rows)
    place_of = np.empty(len(rows), np.uint32)
    place_of[order] = np.arange(len(rows))
    rows = rows[order]
    buckets = bands.ordered([Buckets(band.keys, place_of[band.documents]) for band in found])
    written = task.attempt("bands")
    bands.save(written, buckets, scheme)
    reasons = Counter(rows["verdict"].tolist())
    kept = reasons.pop(thresholds.KEPT.encode(), 0)
    return Made(
        outputs={
            "documents": task.publish_array(rows),
            "bands": task.publish(written, ".bands", "bands", rows=kept),
        },
        entered=len(rows),
        passed=kept,
        reasons={reason.decode(): count for reason, count in sorted(reasons.items())},
    )


def corpus_order(documents: npt.NDArray[np.void]) -> npt.NDArray[np.intp]:
    """(n,) the places of some documents (DOCUMENT), by (first_seen, url_key)."""
    keys = documents["url_key"]
    return np.lexsort((keys[:, 1], keys[:, 0], documents["first_seen"]))


def _identities(corpus: Corpus, documents: Output) -> npt.NDArray[np.void]:
    """(n,) of DOCUMENT, in the order of the partition; without what measurements say."""
    identity = read_table(corpus.root, [documents], IDENTITY)
    rows = np.zeros(len(identity), DOCUMENT)
    rows["row"] = np.arange(len(rows))
    rows["first_seen"] = identity["first_seen"].to_numpy()
    rows["url_key"] = fixed_width(identity["url_key"]).view(">u8").reshape(-1, 2)
    for name in ("doc_id", "text_key"):
        rows[name] = fixed_width(identity[name])
    return rows


def _judged(corpus: Corpus, scores: Output, rows: npt.NDArray[np.void], scheme: Scheme) -> list[Buckets]:
    """Fill in the verdict on each of `_identities`; returns the buckets of those that passed, by row."""
    found, start = [], 0
    for batch in read_batches(corpus.root, [scores], ROWS):
        measured = pa.Table.from_batches([batch])
        here = rows[start : start + len(batch)]
        here["shingles"] = measured["shingles"].to_numpy()
        verdicts, numbers = thresholds.apply(measured, corpus.recipe.select)
        here["verdict"] = verdicts
        here["number"] = [np.nan if number is None else number for number in numbers]
        passed = np.flatnonzero(here["verdict"] == thresholds.KEPT.encode())
        signatures = fixed_width(measured["signature"]).view("<u4").reshape(-1, minhash.PERMUTATIONS)
        near = here["shingles"][passed] > 0
        text_keys = np.ascontiguousarray(here["text_key"][passed])
        numbered = (start + passed).astype(np.uint32)
        found.append(bands.buckets(numbered, text_keys, signatures[passed], near, scheme))
        start += len(batch)
    return found
