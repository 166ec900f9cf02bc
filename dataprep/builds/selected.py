"""Step `select` of one partition: the verdict of the thresholds, and the band buckets of what passes.

Memory: the measurements of one partition, about 1 KB a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.arrays import fixed_width
from dataprep.builds import bands, select
from dataprep.builds.work import Work
from dataprep.corpus import Build, Corpus, Increment
from dataprep.documents import minhash
from dataprep.store import Record, attempt_path, commit, done, publish, read_table

STEP = "select"

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


def run_part(
    corpus: Corpus, build: Build, increment: Increment, number: int, tick: Callable[[int], None]
) -> Record:
    """Judge one document partition of an increment."""
    work = Work.of(corpus, build, increment)
    part = f"{number:05d}"
    path = work.directory / STEP / f"{part}.json"
    facts = [increment.records(stage)[number] for stage in ("documents", "scores")]
    inputs = {output.path: output.xxh3_128 for record in facts for output in record.outputs}
    if record := done(path, inputs):
        tick(record.entered)
        return record

    identity = read_table(corpus.root, facts[0].outputs, IDENTITY)
    scores = read_table(corpus.root, facts[1].outputs)
    rows = _judged(identity, scores, corpus)
    tick(len(rows))
    order = np.lexsort((rows["url_key"][:, 1], rows["url_key"][:, 0], rows["first_seen"]))
    rows = rows[order]
    passed = np.flatnonzero(rows["verdict"] == select.KEPT.encode())
    signatures = fixed_width(scores["signature"]).view("<u4").reshape(-1, minhash.PERMUTATIONS)
    buckets = bands.buckets(
        passed.astype(np.uint32),
        np.ascontiguousarray(rows["text_key"][passed]),
        signatures[rows["row"][passed]],
        rows["shingles"][passed] > 0,
        work.scheme,
    )
    written = attempt_path(path.parent, f"{part}-bands")
    bands.save(written, buckets, work.scheme)
    outputs = [
        work.publish_array(STEP, part, rows),
        publish(corpus.root, written, part, ".bands", rows=len(passed)),
    ]
    reasons = Counter(rows["verdict"].tolist())
    kept = reasons.pop(select.KEPT.encode(), 0)
    counts = {reason.decode(): count for reason, count in sorted(reasons.items())}
    return commit(path, Record(STEP, part, inputs, outputs, len(rows), kept, counts))


def _judged(identity: pa.Table, scores: pa.Table, corpus: Corpus) -> npt.NDArray[np.void]:
    """(n,) of DOCUMENT, in the order of the partition."""
    rows = np.zeros(scores.num_rows, DOCUMENT)
    rows["row"] = np.arange(len(rows))
    rows["first_seen"] = identity["first_seen"].to_numpy()
    rows["url_key"] = fixed_width(identity["url_key"]).view(">u8").reshape(-1, 2)
    for name in ("doc_id", "text_key"):
        rows[name] = fixed_width(identity[name])
    rows["shingles"] = scores["shingles"].to_numpy()
    verdicts, numbers = select.judge(scores, corpus.recipe.select)
    rows["verdict"] = verdicts
    rows["number"] = [np.nan if number is None else number for number in numbers]
    return rows
