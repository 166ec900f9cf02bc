"""Step `links`: from dumps of submissions to the URLs that enter the corpus in this increment.

Each submission ends in exactly one count: it makes a URL enter, it is merged into one that enters, or there
is a reason why not. A URL enters in the increment in which it first reaches the bar and never leaves; what is
under the bar keeps its running karma in the index.

The posts are spilled to disk by URL key and taken back range by range, each against its range of the index.
Memory: about the recipe's `partition_mb`, one bit a post, and the decompressor's window. Disk, meanwhile:
about 150 bytes a post.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.directory import INDEX, Corpus, Increment
from dataprep.corpus.tombstones import Forgotten
from dataprep.corpus.urls import POLICY_VERSION
from dataprep.errors import DataError
from dataprep.links.dumps import read_dump
from dataprep.links.index import URL, LinkIndex
from dataprep.links.karma import enter
from dataprep.links.posts import CollectedPosts
from dataprep.links.rules import LinkFilter
from dataprep.store.external_sort import ranges
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import Output, attempt_path, hash_file, publish, publish_table
from dataprep.store.npy import ArrayWriter
from dataprep.store.pool import Tick
from dataprep.store.records import (
    Record,
    StepFile,
    commit,
    finish_led,
    load_step,
    made_from_others,
    origin,
    step_path,
)

STEP = "links"
VERSIONS = {"url_policy": str(POLICY_VERSION)}
POST_BYTES = 1024
"""What a post takes in memory while its range is sorted and written; a URL of the index takes a quarter."""


@dataclass
class LinkPartition:
    """Ranges of URL keys that make one partition: the links of each, and what was counted."""

    links: list[pa.Table] = field(default_factory=list)
    posts: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def run(corpus: Corpus, increment: Increment, dumps: list[Path], tick: Tick) -> StepFile:
    """Do the step over `dumps`; `tick` counts submissions as they are read.

    Beside the parts with links stands the part `index`: all links after this increment. The first part's
    record also counts the submissions that gave no link, and its notes list what was wrong with dumps.

    Raises DataError when the increment was already made from other dumps, or a dump holds no submission.
    """
    previous, inputs = previous_index(corpus, increment)
    inputs = {str(number): hash_file(dump) for number, dump in enumerate(dumps)} | inputs
    path = step_path(increment.path, STEP)
    if path.exists():
        whole = load_step(path)
        if whole.inputs != inputs:
            raise made_from_others(path, whole.inputs, inputs)
        tick(sum(part.entered for part in whole.parts))
        return whole

    directory = increment.path / STEP
    for stale in directory.glob("*.json"):
        stale.unlink()  # of a call that was killed: nothing was made from it yet
    damages = [FileDamage(str(dump)) for dump in dumps]
    forgotten = Forgotten.of(corpus.root)
    with CollectedPosts(directory) as collected:
        for dump, damage in zip(dumps, damages, strict=True):
            link_filter, before = LinkFilter(corpus.recipe.collect.links, forgotten), collected.entered
            collected.collect(read_dump(dump, damage), link_filter, tick)
            collected.entered += damage.bad_lines
            collected.reasons["bad_record"] += damage.bad_lines
            damage.count(link_filter.bad, link_filter.examples)
            if collected.entered - before == damage.bad_lines:
                raise DataError(f"{dump}: holds no submission ({damage.why_nothing})")
        left, reasons = collected.entered - collected.posts.rows, collected.reasons
        notes = InputNotes(damage=[damage for damage in damages if damage.found])
        urls, submissions = (index_attempt(corpus, increment, name) for name in ("urls", "submissions"))
        with ArrayWriter(urls, URL) as url_index, ArrayWriter(submissions, np.uint64) as submission_index:
            parts = _parts(corpus, increment, collected, previous, url_index, submission_index)
            for number, part in enumerate(parts):
                first = not number
                name = f"part-{number:05d}"
                table = publish_table(corpus.root, directory, name, pa.concat_tables(part.links))
                counted = part.reasons + (reasons if first else Counter())
                record = Record(
                    step=STEP,
                    part=name,
                    inputs=inputs,
                    outputs={"links": table},
                    entered=part.posts + (left if first else 0),
                    passed=table.rows,
                    reasons={reason: n for reason, n in sorted(counted.items()) if n},
                    versions=VERSIONS,
                    notes=msgspec.to_builtins(notes) if first else {},
                )
                commit(directory / f"{name}.json", record)
    return finish(
        corpus,
        increment,
        inputs,
        urls=publish_index(corpus, increment, "urls", urls, url_index.rows),
        submissions=publish_index(corpus, increment, "submissions", submissions, submission_index.rows),
    )


def _parts(
    corpus: Corpus,
    increment: Increment,
    collected: CollectedPosts,
    previous: LinkIndex,
    url_index: ArrayWriter,
    submission_index: ArrayWriter,
) -> Iterator[LinkPartition]:
    """Take the posts back range by range; where ranges are cut depends on counts and recipe alone."""
    limit = corpus.recipe.collect.partition_mb * 1e6 / POST_BYTES
    bounds = ranges(int((collected.posts.rows + len(previous.urls) / 4) / limit) + 1)
    repeated = collected.repeats(bounds, previous, submission_index)

    def enter_range(low: int, high: int, part: LinkPartition) -> None:
        posts = collected.posts.read(low, high)
        again = _bits(repeated, posts["place"].to_numpy())
        part.posts += posts.num_rows
        posts = posts.filter(pa.array(~again))
        known = previous.urls_in(low, high)
        entered = enter(posts, known, corpus.recipe.collect.links, increment.number)
        part.links.append(entered.links)
        part.reasons.update(entered.reasons, repeated_submission=int(again.sum()))
        url_index.write(entered.urls)

    part = LinkPartition()
    for low, high in bounds:
        if part.posts >= limit / 2:
            yield part
            part = LinkPartition()
        enter_range(low, high, part)
    yield part


def _bits(bits: npt.NDArray[np.uint8], places: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.uint8] = bits[places >> 3] >> (places & 7).astype(np.uint8)
    return (found & 1).astype(np.bool_)


def finish(
    corpus: Corpus,
    increment: Increment,
    inputs: dict[str, str],
    urls: Output | None = None,
    submissions: Output | None = None,
) -> StepFile:
    """Commit the index of an increment, and with it finish the step.

    What is not given is that of the increment before: an import, say, leaves its submissions as they are. So
    every later increment finds its links, whatever kind of increment stands before it.
    """
    before = corpus.before(increment)
    index = corpus.index(before) if before else None

    def standing(name: str, dtype: npt.DTypeLike) -> Output:
        if index:
            return index.outputs[name]
        written = index_attempt(corpus, increment, name)
        with ArrayWriter(written, dtype):
            pass
        return publish_index(corpus, increment, name, written, 0)

    outputs = {
        "urls": urls or standing("urls", URL),
        "submissions": submissions or standing("submissions", np.uint64),
    }
    directory = increment.path / STEP
    commit(
        directory / f"{INDEX}.json",
        Record(step=STEP, part=INDEX, inputs=inputs, outputs=outputs, versions=VERSIONS),
    )
    return finish_led(increment.path, STEP, inputs, VERSIONS)


def index_attempt(corpus: Corpus, increment: Increment, name: str) -> Path:
    """Where an array of the index of an increment is written: `urls` or `submissions`."""
    return attempt_path(corpus.root / INDEX, f"{increment.key}-{name}")


def publish_index(corpus: Corpus, increment: Increment, name: str, written: Path, rows: int) -> Output:
    """Publish what was written there."""
    return publish(corpus.root, written, f"{increment.key}-{name}", ".npy", rows)


def previous_index(corpus: Corpus, increment: Increment) -> tuple[LinkIndex, dict[str, str]]:
    """The index that the increment before this one left, and what it is called among inputs."""
    before = corpus.before(increment)
    if before is None:
        return LinkIndex.empty(), {}
    index = corpus.index(before)
    if index is None:
        raise DataError(f"{before.path}: links are not finished; run its command again")
    paths = (corpus.root / index.outputs[name].path for name in ("urls", "submissions"))
    return LinkIndex.load(*paths), {f"{before.path.name}/{STEP}": origin(before.path, STEP)}
