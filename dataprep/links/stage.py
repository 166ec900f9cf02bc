"""Stage `links`: from dumps of submissions to the URLs that enter the corpus in this increment.

Each submission ends in exactly one count: it makes a URL enter, it is merged into one that enters, or there
is a reason why not. A URL enters in the increment in which it first reaches the bar and never leaves; what is
under the bar keeps its running karma in the index.

The posts are spilled to disk by URL key and taken back range by range, each against its range of the index.
Memory: about the recipe's `partition_mb`, one bit a post, and the decompressor's window. Disk, meanwhile:
about 150 bytes a post.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.tombstones import Forgotten
from dataprep.corpus.urls import POLICY_VERSION
from dataprep.errors import DataError
from dataprep.links.candidates import Candidates
from dataprep.links.dumps import Damage, read_dump
from dataprep.links.entry import enter
from dataprep.links.index import URL, LinkIndex
from dataprep.links.rules import Judge
from dataprep.store.external_sort import ranges
from dataprep.store.files import Output, attempt_path, hash_file, publish, publish_table
from dataprep.store.npy import ArrayWriter
from dataprep.store.records import Record, commit, done, load_record

STAGE = "links"
POST_BYTES = 1024
"""What a post takes in memory while its range is sorted and written; a URL of the index takes a quarter."""


@dataclass
class Part:
    """Ranges of URL keys that make one partition: the links of each, and what was counted."""

    links: list[pa.Table] = field(default_factory=list)
    posts: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def run(corpus: Corpus, increment: Increment, dumps: list[Path], tick: Callable[[int], None]) -> list[Record]:
    """Run the stage over `dumps`; `tick` is told of submissions as they are read. Returns the parts' records.

    The record of the index, in the corpus's `index/`, is written last and says that the stage is done. The
    first part's record also counts the submissions that gave no link, and tells what was wrong with dumps.

    Raises DataError when the increment was already made from other dumps, or a dump holds no submission.
    """
    path = corpus.index_record(increment)
    previous, previous_outputs = previous_index(corpus, increment)
    inputs = {str(number): hash_file(dump) for number, dump in enumerate(dumps)}
    inputs |= {output.path: output.xxh3_128 for output in previous_outputs}
    if done(path, inputs):
        records = increment.records(STAGE)
        tick(sum(record.entered for record in records))
        return records

    for stale in (increment.path / STAGE).glob("part-*.json"):
        stale.unlink()  # of a call that ended before the index was written: nothing was made from it yet
    damages = [Damage(str(dump)) for dump in dumps]
    forgotten = Forgotten.of(corpus.root)
    with Candidates(increment.path / STAGE) as candidates:
        for dump, damage in zip(dumps, damages, strict=True):
            judge, before = Judge(corpus.recipe.collect.links, forgotten), candidates.entered
            candidates.collect(read_dump(dump, damage), judge, tick)
            candidates.entered += damage.bad_lines
            candidates.reasons["bad_record"] += damage.bad_lines
            damage.unusable(judge.bad, judge.examples)
            if candidates.entered - before == damage.bad_lines:
                raise DataError(f"{dump}: holds no submission ({damage.why_nothing})")
        left, reasons = candidates.entered - candidates.posts.rows, candidates.reasons
        urls = attempt_path(path.parent, f"{increment.number:04d}-urls")
        submissions = attempt_path(path.parent, f"{increment.number:04d}-submissions")
        records = []
        with ArrayWriter(urls, URL) as url_index, ArrayWriter(submissions, np.uint64) as submission_index:
            for part in _parts(corpus, increment, candidates, previous, url_index, submission_index):
                first = not records
                name = f"part-{len(records):05d}"
                table = publish_table(corpus.root, increment.path / STAGE, name, pa.concat_tables(part.links))
                counted = part.reasons + (reasons if first else Counter())
                record = Record(
                    stage=STAGE,
                    part=name,
                    inputs=inputs,
                    outputs=[table],
                    entered=part.posts + (left if first else 0),
                    passed=table.rows,
                    reasons={reason: n for reason, n in sorted(counted.items()) if n},
                    versions={"url_policy": str(POLICY_VERSION)},
                    notes={"dumps": [vars(damage) for damage in damages]} if first else {},
                )
                records.append(commit(increment.path / STAGE / f"{name}.json", record))
    outputs = [
        publish(corpus.root, urls, f"{increment.number:04d}-urls", ".npy", url_index.rows),
        publish(
            corpus.root, submissions, f"{increment.number:04d}-submissions", ".npy", submission_index.rows
        ),
    ]
    commit(path, Record("index", path.stem, inputs, outputs, url_index.rows, url_index.rows))
    return records


def _parts(
    corpus: Corpus,
    increment: Increment,
    candidates: Candidates,
    previous: LinkIndex,
    url_index: ArrayWriter,
    submission_index: ArrayWriter,
) -> Iterator[Part]:
    """Take the candidates back range by range; where ranges are cut depends on counts and recipe alone."""
    limit = corpus.recipe.collect.partition_mb * 1e6 / POST_BYTES
    bounds = ranges(int((candidates.posts.rows + len(previous.urls) / 4) / limit) + 1)
    repeated = candidates.repeats(bounds, previous, submission_index)

    def enter_range(low: int, high: int, part: Part) -> None:
        posts = candidates.posts.read(low, high)
        again = _bits(repeated, posts["place"].to_numpy())
        part.posts += posts.num_rows
        posts = posts.filter(pa.array(~again))
        known = previous.urls_in(low, high)
        entered = enter(posts, known, corpus.recipe.collect.links, increment.number)
        part.links.append(entered.links)
        part.reasons.update(entered.reasons, repeated_submission=int(again.sum()))
        url_index.write(entered.urls)

    part = Part()
    for low, high in bounds:
        if part.posts >= limit / 2:
            yield part
            part = Part()
        enter_range(low, high, part)
    yield part


def _bits(bits: npt.NDArray[np.uint8], places: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.uint8] = bits[places >> 3] >> (places & 7).astype(np.uint8)
    return (found & 1).astype(np.bool_)


def commit_index(
    corpus: Corpus, increment: Increment, inputs: dict[str, str], urls: Output | None = None
) -> Record:
    """Commit the index of an increment without submissions: the one before it, with other URLs if given.

    So every later increment finds its links, whatever kind of increment stands before it.
    """
    path = corpus.index_record(increment)
    _, previous = previous_index(corpus, increment)

    def empty(name: str, dtype: npt.DTypeLike) -> Output:
        stem = f"{path.stem}-{name}"
        written = attempt_path(path.parent, stem)
        with ArrayWriter(written, dtype):
            pass
        return publish(corpus.root, written, stem, ".npy")

    outputs = [
        urls or (previous[0] if previous else empty("urls", URL)),
        previous[1] if previous else empty("submissions", np.uint64),
    ]
    rows = outputs[0].rows
    return commit(path, Record("index", path.stem, inputs, outputs, rows, rows))


def previous_index(corpus: Corpus, increment: Increment) -> tuple[LinkIndex, list[Output]]:
    """The index that the increment before this one left, and the files that hold it."""
    before = corpus.before(increment)
    if before is None:
        return LinkIndex.empty(), []
    path = corpus.index_record(before)
    if not path.exists():
        raise DataError(f"{before.path}: links are not finished; run its command again")
    urls, submissions = load_record(path).outputs
    return LinkIndex.load(corpus.root / urls.path, corpus.root / submissions.path), [urls, submissions]
