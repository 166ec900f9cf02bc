"""Step `links` of one range of URL keys: the URLs that enter the corpus in this increment.

    posts, by dump -> repeats, by submission number -> links, by URL key

Each submission ends in exactly one count: it makes a URL enter, it is merged into one that enters, or there
is a reason why not. A URL enters in the increment in which it first reaches the bar and never leaves; what is
under the bar keeps its running karma in the index, of which each part writes its piece. Memory: about the
recipe's `partition_mb`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa

from dataprep.corpus.directory import INDEX, Corpus, Facts, Increment
from dataprep.corpus.urls import POLICY_VERSION
from dataprep.links import inputs as dumps
from dataprep.links import posts, repeats
from dataprep.links.index import URL, LinkIndex, index_attempt, index_before, publish_index
from dataprep.links.karma import enter
from dataprep.store.external_sort import ranges
from dataprep.store.file_damage import InputNotes
from dataprep.store.files import Output
from dataprep.store.npy import ArrayWriter
from dataprep.store.records import Record, StepFile, commit, finish_led, records_in
from dataprep.store.step import Made, Part, Save, Task, read_step

STEP = "links"
VERSIONS = {"url_policy": str(POLICY_VERSION)}
POST_BYTES = 1024
"""What a post takes in memory while its range is sorted and written; a URL of the index takes a quarter."""
MOST_RANGES = 8
"""Ranges of one part. Where the index is large and an increment small, a range holds few posts."""


def plan(scope: Facts, save: Save) -> list[Part]:
    """Parts of several equal ranges of keys; what fits in memory is one range.

    How many there are depends on counts and the recipe's `partition_mb` alone.
    """
    rows = sum(part.passed for part in read_step(scope, posts.STEP).parts)
    known = sum(piece.rows for piece in index_before(scope.corpus, scope.increment)[0].urls)
    limit = scope.corpus.recipe.collect.partition_mb * 1e6 / POST_BYTES
    number = int((rows + known / 4) / limit) + 1
    parts = min(number, max(-(-number // MOST_RANGES), int(rows / (limit / 2)) + 1))
    cuts = [place * number // parts for place in range(parts + 1)]
    return [
        Part(
            name=f"part-{place:05d}",
            size=rows * end // number - rows * start // number,
            spec={"start": start, "end": end, "of": number},
        )
        for place, (start, end) in enumerate(pairwise(cuts))
    ]


def run(task: Task[Facts]) -> Made:
    """Let the URLs of some ranges enter.

    The first part also counts the submissions that gave no link, its notes list what was wrong with dumps,
    and it names the index of submissions.
    """
    scope, spec = task.scope, task.part.spec
    corpus, increment = scope.corpus, scope.increment
    previous = LinkIndex.load(scope.root, index_before(corpus, increment)[0])
    piece = f"urls-{task.part.name}"
    written = index_attempt(corpus, increment, piece)
    tables, entered, reasons = [], 0, Counter[str]()
    with ArrayWriter(written, URL) as urls:
        for low, high in ranges(spec["of"])[spec["start"] : spec["end"]]:
            found = posts.read(scope, "posts", low, high)
            again = np.isin(found["place"].to_numpy(), repeats.places(scope, low, high))
            known = previous.urls_in(low, high)
            once = found.filter(pa.array(~again))
            here = enter(once, known, corpus.recipe.collect.links, increment.number)
            tables.append(here.links)
            entered += found.num_rows
            reasons.update(here.reasons, repeated_submission=int(again.sum()))
            urls.write(here.urls)
            task.tick(found.num_rows)
    table = task.publish_table(pa.concat_tables(tables))
    outputs = {"links": table, "urls": publish_index(corpus, increment, piece, written, urls.rows)}
    notes = None
    if not spec["start"]:
        read = records_in(scope.places["reading"] / posts.STEP)
        entered += sum(record.entered - record.passed for record in read)
        for record in read:
            reasons.update(record.reasons)
        notes = InputNotes(damage=[damage for record in read for damage in record.noted(InputNotes).damage])
        outputs |= _numbered("submissions", read_step(scope, repeats.STEP).outputs("submissions"))
    return Made(
        outputs=outputs,
        entered=entered,
        passed=table.rows,
        reasons={reason: n for reason, n in sorted(reasons.items()) if n},
        notes=notes,
    )


def inputs(scope: Facts) -> dict[str, str]:
    """The dumps, and the links of the increments before this one."""
    return dumps.hashes(scope) | index_before(scope.corpus, scope.increment)[1]


def versions(scope: Facts) -> dict[str, str]:
    """What decides which URL a link is."""
    return VERSIONS


def discard_other_versions(increment: Increment) -> None:
    """Remove the links of a command that was stopped, where this version would make others."""
    if any(record.versions != VERSIONS for record in increment.records(STEP)):
        shutil.rmtree(increment.path / STEP)


def finish(
    corpus: Corpus, increment: Increment, inputs: dict[str, str], urls: Output | None = None
) -> StepFile:
    """Commit the index of an import, and with it finish the step.

    What is not given is that of the increment before: an import leaves submissions as they are. So every
    later increment finds its links, whatever kind of increment stands before it.
    """
    before, _ = index_before(corpus, increment)
    outputs = _numbered("urls", [urls] if urls else before.urls or [_empty(corpus, increment)])
    outputs |= _numbered("submissions", before.submissions)
    commit(
        increment.path / STEP / f"{INDEX}.json",
        Record(step=STEP, part=INDEX, inputs=inputs, outputs=outputs, versions=VERSIONS),
    )
    return finish_led(increment.path, STEP, inputs, VERSIONS)


def _empty(corpus: Corpus, increment: Increment) -> Output:
    written = index_attempt(corpus, increment, "urls")
    with ArrayWriter(written, URL):
        pass
    return publish_index(corpus, increment, "urls", written, 0)


def _numbered(name: str, pieces: list[Output]) -> dict[str, Output]:
    return {f"{name}/{number:05d}": piece for number, piece in enumerate(pieces)}
