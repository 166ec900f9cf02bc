"""Stage `links`: from dumps of submissions to the URLs that enter the corpus in this increment.

Each submission ends in exactly one count: it makes a URL enter, it is merged into one that enters, or there
is a reason why not. A URL enters in the increment in which it first reaches the bar and never leaves; what is
under the bar keeps its running karma in the index. Memory: one entry a URL of the increment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dataprep.corpus import Corpus, Increment
from dataprep.dumps import Damage, Submission, number, read_dump
from dataprep.errors import DataError
from dataprep.link_index import URL, LinkIndex, key_numbers
from dataprep.recipe import Links
from dataprep.store import Output, Record, attempt_path, commit, done, hash_file, publish, publish_table
from dataprep.urls import POLICY_VERSION, canonical

STAGE = "links"
BATCH = 8192
"""Submissions that are looked up in the index at once."""
REDDIT = frozenset(["reddit.com", "redd.it", "redditmedia.com", "redditstatic.com"])
MEDIA = frozenset(
    "flickr.com giphy.com gfycat.com imgur.com instagram.com liveleak.com min.us minus.com pinterest.com "
    "photobucket.com qkme.me quickmeme.com soundcloud.com streamable.com tinypic.com twitch.tv vimeo.com "
    "youtu.be youtube.com".split()
)
"""Sites whose pages are pictures, films or sound."""

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("url_key", pa.binary(16)),
        ("site", pa.string()),
        ("karma", pa.int64()),
        ("first_seen", pa.int64()),
        (
            "submissions",
            pa.list_(
                pa.struct(
                    [
                        ("id", pa.string()),
                        ("created_utc", pa.int64()),
                        ("score", pa.int64()),
                        ("subreddit", pa.string()),
                    ]
                )
            ),
        ),
    ]
)

Post = tuple[int, str, int, str, str]
"""(created_utc, id, score, subreddit, url): sorts in the order of time."""


@dataclass
class Candidates:
    """What dumps hold about links: posts by URL key, and why the other submissions were left."""

    posts: dict[bytes, list[Post]] = field(default_factory=dict)
    sites: dict[bytes, str] = field(default_factory=dict)
    submissions: dict[int, None] = field(default_factory=dict)
    entered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def run(corpus: Corpus, increment: Increment, dumps: list[Path], tick: Callable[[int], None]) -> Record:
    """Run the stage over `dumps`; `tick` is told of submissions as they are read.

    Raises DataError when the increment was already made from other dumps.
    """
    path = increment.path / STAGE / "part-00000.json"
    previous, previous_outputs = _previous_index(corpus, increment)
    inputs = {str(number): hash_file(dump) for number, dump in enumerate(dumps)}
    inputs |= {output.path: output.xxh3_128 for output in previous_outputs}
    if record := done(path, inputs):
        tick(record.entered)
        return record

    damages = [Damage(str(dump)) for dump in dumps]
    candidates = Candidates()
    for dump, damage in zip(dumps, damages, strict=True):
        collect(read_dump(dump, damage), corpus.recipe.collect.links, previous, candidates, tick)
        candidates.entered += damage.bad_lines
        candidates.reasons["bad_record"] += damage.bad_lines
    rows, index = enter(candidates, corpus.recipe.collect.links, previous, increment.number)

    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    outputs = [
        publish_table(corpus.root, increment.path / STAGE, "part-00000", table),
        _publish_array(corpus.root, f"{increment.number:04d}-urls", index.urls),
        _publish_array(corpus.root, f"{increment.number:04d}-submissions", index.submissions),
    ]
    return commit(
        path,
        Record(
            stage=STAGE,
            part="part-00000",
            inputs=inputs,
            outputs=outputs,
            entered=candidates.entered,
            passed=len(rows),
            reasons={reason: n for reason, n in sorted(candidates.reasons.items()) if n},
            versions={"url_policy": str(POLICY_VERSION)},
            notes={"dumps": [vars(damage) for damage in damages]},
        ),
    )


def collect(
    submissions: Iterator[Submission],
    rules: Links,
    previous: LinkIndex,
    candidates: Candidates,
    tick: Callable[[int], None],
) -> None:
    """Sort submissions into candidates by URL and reasons."""
    until = datetime.combine(rules.until, time(), UTC).timestamp() if rules.until else None
    batch: list[tuple[int, bytes, Post]] = []
    for read, submission in enumerate(submissions, start=1):
        candidates.entered += 1
        if read % BATCH == 0:
            _count_once(batch, previous, candidates)
            batch.clear()
            tick(BATCH)
        taken = judge(submission, rules, until)
        if isinstance(taken, str):
            candidates.reasons[taken] += 1
            continue
        key, site, post = taken
        candidates.sites.setdefault(key, site)
        batch.append((submission_number(post[1]), key, post))
    _count_once(batch, previous, candidates)
    tick(candidates.entered % BATCH)


def judge(submission: Submission, rules: Links, until: float | None) -> str | tuple[bytes, str, Post]:
    """The reason why a submission gives no link, or its URL key, site and post."""
    created, score = number(submission.created_utc), number(submission.score)
    if created is None or score is None:
        return "bad_record"
    if submission.is_self:
        return "self_post"
    if submission.over_18 and not rules.over_18:
        return "over_18"
    if submission.removed_by_category:
        return "removed"
    if until and created >= until:
        return "after_date"
    subreddit = submission.subreddit or ""
    if subreddit.lower() in rules.blocked_subreddits:
        return "blocked_subreddit"
    try:
        link = canonical(submission.url or "")
    except ValueError:
        return "no_link"
    if link.site in REDDIT:
        return "reddit"
    if link.site in rules.blocked_sites:
        return "blocked_site"
    if link.site in MEDIA:
        return "media_site"
    if PurePosixPath(urlsplit(link.url).path).suffix.lower().lstrip(".") in rules.blocked_extensions:
        return "blocked_extension"
    return link.key, link.site, (created, submission.id, score, subreddit, link.url)


def enter(
    candidates: Candidates, rules: Links, previous: LinkIndex, increment: int
) -> tuple[list[dict[str, object]], LinkIndex]:
    """Decide which URLs enter in this increment; returns their rows by key, and the index after it."""
    keys = sorted(candidates.posts)
    known = previous.find(key_numbers(keys))
    updates = np.zeros(len(keys), URL)
    rows: list[dict[str, object]] = []
    for place, (key, row) in enumerate(zip(keys, known, strict=True)):
        posts = sorted(candidates.posts[key])
        earlier_karma = int(previous.urls["karma"][row]) if row >= 0 else 0
        entered = int(previous.urls["entered"][row]) if row >= 0 else 0
        karma = earlier_karma + sum(post[2] for post in posts)
        if entered:
            candidates.reasons["already_entered"] += len(posts)
        elif post := reached(posts, rules, earlier_karma):
            entered = increment
            candidates.reasons["merged"] += len(posts) - 1
            best = max(post[2] for post in posts)
            rows.append(
                {
                    "url": post[4],
                    "url_key": key,
                    "site": candidates.sites[key],
                    "karma": karma if rules.karma_rule == "sum" else best,
                    "first_seen": post[0],
                    "submissions": [
                        dict(zip(("created_utc", "id", "score", "subreddit"), each[:4], strict=True))
                        for each in posts
                    ],
                }
            )
        else:
            candidates.reasons["below_karma"] += len(posts)
        updates[place] = (key_numbers([key])[0], karma, entered)
    submissions = np.fromiter(candidates.submissions, np.uint64, len(candidates.submissions))
    return rows, previous.updated(updates, submissions)


def reached(posts: list[Post], rules: Links, karma: int) -> Post | None:
    """The post, in the order of time, with which a URL reaches the bar; its time is the URL's `first_seen`.

    That it is this post, not the URL's first, makes the order of documents the same for every chronological
    split of the dumps into increments.
    """
    for post in posts:
        karma = karma + post[2] if rules.karma_rule == "sum" else post[2]
        if karma >= rules.karma:
            return post
    return None


def submission_number(identifier: str) -> int:
    """A submission's id (base 36) as a number below 2^64; an id of another form by its hash."""
    try:
        value = int(identifier, 36)
        return value if 0 <= value < 1 << 63 else xxhash.xxh3_64_intdigest(identifier.encode())
    except ValueError:
        return xxhash.xxh3_64_intdigest(identifier.encode())


def _count_once(batch: list[tuple[int, bytes, Post]], previous: LinkIndex, candidates: Candidates) -> None:
    """File a batch under its URLs; each submission id counts once over the whole corpus."""
    seen = previous.counted(np.array([item[0] for item in batch], np.uint64))
    for (identifier, key, post), before in zip(batch, seen, strict=True):
        if before or identifier in candidates.submissions:
            candidates.reasons["repeated_submission"] += 1
            continue
        candidates.submissions[identifier] = None
        candidates.posts.setdefault(key, []).append(post)


def _previous_index(corpus: Corpus, increment: Increment) -> tuple[LinkIndex, list[Output]]:
    """The index that the increment before this one left, and the files that hold it."""
    before = corpus.before(increment)
    if before is None:
        return LinkIndex.empty(), []
    records = before.records(STAGE)
    if not records:
        raise DataError(f"{before.path}: links are not finished; run `corpus add` for {before.name} again")
    urls, submissions = records[0].outputs[1:]
    return LinkIndex.load(corpus.root / urls.path, corpus.root / submissions.path), [urls, submissions]


def _publish_array(root: Path, stem: str, array: npt.NDArray[np.generic]) -> Output:
    written = attempt_path(root / "index", stem)
    with written.open("wb") as file:
        np.save(file, array)
    return publish(root, written, stem, ".npy", rows=len(array))
