"""Step `posts` of one dump: the submissions that give a link, and a reason for each of the others.

Which of the links enter is not known before all dumps are read. So the posts are written sorted by URL key,
for `links`, and their submission ids a second time, sorted by number, for `repeats`. Memory: two runs of a
sorted file, and the decompressor's window. Disk, until the links are in: about 200 bytes a post.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from dataprep.corpus.directory import Facts
from dataprep.corpus.tombstones import Forgotten
from dataprep.corpus.urls import POLICY_VERSION
from dataprep.errors import DataError
from dataprep.links import inputs
from dataprep.links.dumps import read_dump
from dataprep.links.index import scattered
from dataprep.links.rules import LinkFilter, Post
from dataprep.store.external_sort import SortedFile, read_range
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.step import Made, Part, Save, Task, read_step

STEP = "posts"
BATCH = 8192
"""Posts that are held as Python objects."""
DUMP_SHIFT = 40
"""A post's place is the number of its dump << 40 | the posts before it in the dump."""

POSTS = pa.schema(
    [
        ("key_high", pa.uint64()),
        ("key_low", pa.uint64()),
        ("number", pa.uint64()),
        ("place", pa.uint64()),
        ("created_utc", pa.int64()),
        ("score", pa.int64()),
        ("id", pa.string()),
        ("subreddit", pa.string()),
        ("url", pa.string()),
        ("site", pa.string()),
    ]
)
"""number: the submission's id as a number. Places stand in the order of reading."""

NUMBERS = pa.schema([("scattered", pa.uint64()), ("key_high", pa.uint64()), ("place", pa.uint64())])


class NoDump(DataError):
    """A file holds no submission, or ends too early and that is not allowed."""


def plan(scope: Facts, save: Save) -> list[Part]:
    """A part for each dump; how many submissions it holds is not known before."""
    dumps = inputs.dumps_of(scope.increment).dumps
    return [Part(name=f"part-{number:05d}", spec={"dump": number}) for number in range(len(dumps))]


def run(task: Task[Facts]) -> Made:
    """Read one dump; the notes list what was wrong with it.

    Raises NoDump, and DataError when it has another size than `dumps.json` lists.
    """
    corpus, number = task.scope.corpus, task.part.spec["dump"]
    given = inputs.dumps_of(task.scope.increment)
    dump = given.dumps[number]
    if Path(dump.path).stat().st_size != dump.bytes:
        raise DataError(f"{dump.path}: is not the dump that the increment was made of")
    damage, reasons, entered = FileDamage(dump.name), Counter[str](), 0
    link_filter = LinkFilter(corpus.recipe.collect.links, Forgotten.of(corpus.root))
    posts_file, numbers_file = task.attempt("posts"), task.attempt("numbers")
    with SortedFile(posts_file) as posts, SortedFile(numbers_file) as numbers:
        batch: list[Post] = []
        for submissions in read_dump(Path(dump.path), damage):
            found, left = link_filter(submissions)
            entered += len(submissions)
            reasons.update(left)
            batch += found
            if len(batch) >= BATCH:
                _add(batch, number, posts, numbers)
                batch = []
            task.tick(len(submissions))
        _add(batch, number, posts, numbers)
        entered += damage.bad_lines
        reasons["bad_record"] += damage.bad_lines
        damage.count(link_filter.bad, link_filter.examples)
        if entered == damage.bad_lines:
            raise NoDump(f"{dump.name}: holds no submission ({damage.why_nothing})")
        if damage.stopped and not given.allow_truncated:
            raise NoDump(
                f"{dump.name}: is not whole ({damage.stopped}); get the whole dump, or add "
                "--allow-truncated to take what this one holds"
            )
    return Made(
        outputs={
            "posts": task.publish(posts_file, ".sorted", "posts", rows=posts.rows),
            "numbers": task.publish(numbers_file, ".sorted", "numbers", rows=numbers.rows),
        },
        entered=entered,
        passed=posts.rows,
        reasons={reason: n for reason, n in sorted(reasons.items()) if n},
        notes=InputNotes(damage=[damage]) if damage.found else None,
    )


def versions(scope: Facts) -> dict[str, str]:
    """What decides the posts, and the form of their files."""
    return {"posts": "1", "url_policy": str(POLICY_VERSION)}


def read(scope: Facts, name: str, low: int, high: int) -> pa.Table:
    """The posts, or their numbers, of all dumps in a range [low, high) of what sorts them, in no order."""
    schema = {"posts": POSTS, "numbers": NUMBERS}[name]
    outputs = read_step(scope, STEP).outputs(name)
    tables = [read_range(scope.root / output.path, schema, low, high) for output in outputs]
    return pa.concat_tables(tables).combine_chunks()


def _add(batch: list[Post], dump: int, posts: SortedFile, numbers: SortedFile) -> None:
    if not batch:
        return
    keys = b"".join([post.link.key for post in batch])
    halves = np.frombuffer(keys, ">u8").astype(np.uint64).reshape(-1, 2)
    identifiers = np.array([submission_number(post.id) for post in batch], np.uint64)
    first = (dump << DUMP_SHIFT) + posts.rows
    places = np.arange(first, first + len(batch), dtype=np.uint64)
    columns = [
        halves[:, 0],
        halves[:, 1],
        identifiers,
        places,
        [post.created_utc for post in batch],
        [post.score for post in batch],
        [post.id for post in batch],
        [post.subreddit for post in batch],
        [post.link.url for post in batch],
        [post.link.site for post in batch],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, POSTS, strict=True)]
    posts.add(pa.Table.from_arrays(arrays, schema=POSTS))
    numbers.add(pa.Table.from_arrays([scattered(identifiers), halves[:, 0], places], schema=NUMBERS))


def submission_number(identifier: str) -> int:
    """A submission's id (base 36) as a number below 2^64; an id of another form by its hash."""
    try:
        value = int(identifier, 36)
        return value if 0 <= value < 1 << 63 else xxhash.xxh3_64_intdigest(identifier.encode())
    except ValueError:
        return xxhash.xxh3_64_intdigest(identifier.encode())
