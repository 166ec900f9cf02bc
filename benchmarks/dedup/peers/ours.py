"""Our near-deduplication: signatures of a corpus's documents, then every step to its verdicts.

    python ours.py CORPUS KEPT [sign|judge|share]

Prints, as JSON, the CPU and wall seconds that signing and the rest took without imports; or does only one of
the two. `share` judges, and prints three numbers for each step: the CPU seconds of what one process must do
(plan and step file), the CPU seconds of its parts, and the number of parts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataprep import ingest
from dataprep.corpus.directory import Corpus, Decisions, Increment
from dataprep.score import stage as score
from dataprep.selection.exclude import begin
from dataprep.steps import BY_NAME, STEPS
from dataprep.store.files import publish_table, read_table
from dataprep.store.npy import fixed_width_column
from dataprep.store.pool import Tick
from dataprep.store.records import Record, commit, load_step
from dataprep.store.step import LocalPool, Scope, Step, run_step, run_steps
from dataprep.text import minhash


@contextmanager
def no_progress(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar that nobody sees."""
    yield lambda _: None


def sign(corpus: Corpus, increment: Increment, versions: dict[str, str]) -> None:
    """What the step `score` does for deduplication; the increment is closed with it."""
    for documents in increment.parts("extract"):
        table = read_table(corpus.root, [documents.outputs["documents"]], ["doc_id", "text"])
        shingles, signatures = zip(*minhash.sketches(table["text"].to_pylist()), strict=True)
        columns = {field.name: pa.nulls(len(table), field.type) for field in score.SCHEMA}
        columns["doc_id"], columns["shingles"] = table["doc_id"], pa.array(shingles, pa.int64())
        columns["characters"] = pa.compute.cast(pa.compute.utf8_length(table["text"]), pa.int64())
        columns["signature"] = fixed_width_column(np.stack(signatures).view("V560").ravel())
        scores = pa.table(columns, schema=score.SCHEMA)
        output = publish_table(corpus.root, increment.path / score.STEP, documents.part, scores)
        record = Record(
            step=score.STEP,
            part=documents.part,
            outputs={"scores": output},
            entered=len(table),
            passed=len(table),
            versions=versions,
        )
        commit(increment.path / score.STEP / f"{documents.part}.json", record)
    ingest.close(increment)


class Metered:
    """An executor of one process that counts the parts and their CPU seconds."""

    joins = False

    def __init__(self) -> None:
        self.parts, self.used_s = 0, 0.0

    def __call__(self, step: Step[Any], scope: Scope, parts: Sequence[str], tick: Tick) -> None:
        begun = time.process_time()
        LocalPool(1)(step, scope, parts, tick)
        self.used_s += time.process_time() - begun
        self.parts += len(parts)


def share(chain: Sequence[Step[Any]], scope: Decisions) -> dict[str, tuple[float, float, int]]:
    """For each step: the CPU seconds outside its parts, those of its parts, and the number of parts."""
    found = {}
    for step in chain:
        metered, begun = Metered(), time.process_time()
        run_step(step, scope, metered, no_progress)
        used_s = time.process_time() - begun
        found[step.name] = (used_s - metered.used_s, metered.used_s, metered.parts)
    return found


def main() -> None:
    """Select from the last increment of a corpus and write down which of its URLs are kept."""
    corpus = Corpus.open(Path(sys.argv[1]))
    increment = corpus.increments()[-1]
    versions = score.versions(corpus)  # imports the language's model
    clock = [(time.process_time(), time.monotonic())]
    if not {"judge", "share"} & {*sys.argv}:
        sign(corpus, increment, versions)
    clock.append((time.process_time(), time.monotonic()))
    if "sign" in sys.argv:
        return
    scope = Decisions(corpus, begin(corpus), increment)
    chain = STEPS[STEPS.index(BY_NAME["select"]) : STEPS.index(BY_NAME["verdicts"]) + 1]
    if "share" in sys.argv:
        print(json.dumps(share(chain, scope)))
        return
    run_steps(chain, scope, LocalPool(1), no_progress)
    clock.append((time.process_time(), time.monotonic()))
    outputs = load_step(BY_NAME["verdicts"].file(scope)).outputs("verdicts")
    verdicts = read_table(corpus.root, outputs, ["first_seen", "verdict"])
    kept = verdicts.filter(pa.compute.equal(verdicts["verdict"], "kept"))["first_seen"].to_pylist()
    Path(sys.argv[2]).write_text("\n".join(map(str, kept)))
    spans = [[after[n] - before[n] for n in (0, 1)] for before, after in pairwise(clock)]
    print(json.dumps({"sign": spans[0], "rest": spans[1]}))


if __name__ == "__main__":
    main()
