"""Which links enter an increment, and why the others do not."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Collect, Links, Recipe
from dataprep.errors import DataError
from dataprep.links import stage as links
from dataprep.store import external_sort
from dataprep.store.files import read_table
from dataprep.store.records import Record, step_path
from support.kills import die_within, killed


def post(
    identifier: str, url: str = "http://a.test/1", score: Any = 5, at: Any = 100, **more: Any
) -> dict[str, Any]:
    return {"id": identifier, "url": url, "score": score, "created_utc": at, "subreddit": "x", **more}


@dataclass
class Ran:
    """What the step made of an increment, over all its partitions."""

    records: list[Record]
    rows: list[dict[str, Any]]

    @property
    def counts(self) -> tuple[int, int, dict[str, int]]:
        reasons = sum((Counter(record.reasons) for record in self.records), Counter[str]())
        entered = sum(record.entered for record in self.records)
        passed = sum(record.passed for record in self.records)
        assert entered == passed + reasons.total()
        assert passed == len(self.rows)
        return entered, passed, dict(reasons)


def run(corpus: Corpus, name: str, posts: Sequence[dict[str, Any]]) -> Ran:
    dump = corpus.root.with_name(f"{corpus.root.name}-{name}.json")
    dump.write_text("\n".join(json.dumps(each) for each in posts))
    increment = corpus.increment(name)
    whole = links.run(corpus, increment, [dump], lambda _: None)
    ingest.close(increment)
    records = [part for part in whole.parts if "links" in part.outputs]
    return Ran(records, read_table(corpus.root, whole.outputs("links")).to_pylist())


def make(root: Path, partition_mb: float = 256, **rules: Any) -> Corpus:
    collect = Collect(links=Links(**rules), partition_mb=partition_mb)
    return Corpus.create(root, Recipe(name="t", collect=collect))


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("self_post", post("b", is_self=True)),
        ("over_18", post("b", over_18=True)),
        ("self_post", post("b", is_self="true")),
        ("over_18", post("b", over_18=1)),
        ("removed", post("b", removed_by_category="moderator")),
        ("removed", post("b", banned_by="mod")),
        ("removed", post("b", banned_by=True)),
        ("removed", post("b", removal_reason="legal")),
        ("removed", post("b", selftext="[removed]", is_self=False)),
        ("removed", post("b", selftext="[deleted]", is_self=None)),
        ("after_date", post("b", at=1514764800)),
        ("no_link", post("b", url="/r/x/comments/1")),
        ("no_link", post("b", url=None)),
        ("reddit", post("b", url="https://i.redd.it/x")),
        ("media_site", post("b", url="https://www.youtube.com/watch?v=1")),
        ("media_site", post("b", url="http://imgur.com")),
        ("blocked_site", post("b", url="http://blog.b.test/x")),
        ("blocked_site", post("b", url="https://de.wikipedia.org/wiki/X")),
        ("blocked_subreddit", post("b", subreddit="Spam")),
        ("blocked_extension", post("b", url="http://a.test/x.PDF?y=1")),
        ("below_karma", post("b", url="http://a.test/2", score=2)),
        ("merged", post("b", url="https://a.test/1?utm_source=x")),
        ("repeated_submission", post("a")),
        ("bad_record", post("b", score="many")),
        ("bad_record", post("b", at=None)),
        ("bad_record", post("b", score="1e300")),
        ("bad_record", post("b", score=10**30)),
        ("bad_record", post("b", at=-(10**30))),
        ("after_date", post("b", at=10**18)),
    ],
)
def test_every_lost_submission_has_a_reason(tmp_path: Path, reason: str, bad: dict[str, Any]) -> None:
    corpus = make(
        tmp_path / "c",
        until="2018-01-01",
        blocked_sites=["wikipedia.org", "Blog.b.test"],
        blocked_subreddits=["r/Spam"],
    )
    assert run(corpus, "one", [post("a"), bad]).counts == (2, 1, {reason: 1})


def test_a_url_under_the_bar_enters_in_the_month_in_which_it_reaches_it(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c")
    assert run(corpus, "one", [post("a", score=1)]).counts == (1, 0, {"below_karma": 1})
    entered = run(corpus, "two", [post("b", score=7, at=200)])
    assert [row["first_seen"] for row in entered.rows] == [200]
    assert run(corpus, "three", [post("c", score=9, at=300)]).counts == (1, 0, {"already_entered": 1})


def test_karma_by_sum_runs_on_over_increments_and_counts_a_submission_once(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c", karma_rule="sum")
    run(corpus, "one", [post("a", score=2)])
    assert run(corpus, "two", [post("a", score=2)]).counts == (1, 0, {"repeated_submission": 1})
    entered = run(corpus, "three", [post("b", score=1, at=300)])
    assert [row["karma"] for row in entered.rows] == [3]


def test_running_again_makes_nothing_and_other_dumps_are_refused(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c")
    first = run(corpus, "one", [post("a")])
    assert run(corpus, "one", [post("a")]) == first
    with pytest.raises(DataError, match="other inputs"):
        run(corpus, "one", [post("b")])


def test_an_increment_waits_for_the_one_before(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c")
    corpus.increment("one")
    with pytest.raises(DataError, match="is not finished"):
        corpus.increment("two")


def many(number: int) -> list[dict[str, Any]]:
    """Posts of which some repeat an id, some a URL, and some stay under the bar."""
    return [
        post(f"{at % 997:x}", f"http://s{at % 7}.test/{at % 401}", score=at % 11 - 6, at=at // 3)
        for at in range(number)
    ]


def test_what_a_broken_off_call_left_does_not_count(tmp_path: Path) -> None:
    """The step file is written last; parts without it are of a call that ended early, over whatever dumps."""
    corpus = make(tmp_path / "c")
    run(corpus, "one", [post("a")])
    increment = corpus.increments()[0]
    step_path(increment.path, "links").unlink()
    (increment.path / "increment.json").unlink()
    again = run(corpus, "one", [post("b", url="http://a.test/2"), post("c", url="http://a.test/3")])
    assert sorted(row["url"] for row in again.rows) == ["http://a.test/2", "http://a.test/3"]


def test_neither_partitions_nor_runs_change_what_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(make(tmp_path / "whole"), "one", many(2000))
    monkeypatch.setattr(external_sort, "RUN_BYTES", 20_000)
    monkeypatch.setattr("dataprep.links.posts.BATCH", 50)
    corpus = make(tmp_path / "cut", partition_mb=0.05)
    cut = run(corpus, "one", many(2000))
    assert list(problems(corpus, lambda _: None)) == []
    assert len(whole.records) == 1
    assert len(cut.records) > 5
    assert cut.rows == whole.rows
    assert cut.counts == whole.counts
    for name in ("urls", "submissions"):
        (one,), (other,) = (list((tmp_path / each).glob(f"index/*-{name}-*")) for each in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow(4)
def test_killed_at_any_moment_the_stage_is_run_again_to_the_same_bytes(tmp_path: Path) -> None:
    def made(corpus: Corpus) -> dict[str, bytes]:
        files = [path for path in corpus.root.rglob("*") if path.is_file() and not path.name.startswith(".")]
        return {str(path.relative_to(corpus.root)): path.read_bytes() for path in files}

    def run_until(moment: float, corpus: Corpus, increment: Increment) -> None:
        die_within(moment)
        links.run(corpus, increment, [dump], lambda _: None)

    dump = tmp_path / "dump.json"
    dump.write_text("\n".join(json.dumps(each) for each in many(20_000)))
    undisturbed = make(tmp_path / "undisturbed", partition_mb=0.5)
    began = time.monotonic()
    links.run(undisturbed, undisturbed.increment("one"), [dump], lambda _: None)
    seconds = time.monotonic() - began
    chance = random.Random(1)
    for quarter in range(4):
        moment = seconds * (quarter + chance.random()) / 4
        for attempt in count():  # again, and sooner, where the child was faster than we were
            disturbed = make(tmp_path / f"{quarter}-{attempt}", partition_mb=0.5)
            increment = disturbed.increment("one")

            if killed(run_until, moment * 0.8**attempt, disturbed, increment):
                break
        links.run(disturbed, increment, [dump], lambda _: None)
        assert made(disturbed) == made(undisturbed)


POSTS = st.lists(
    st.builds(
        post,
        identifier=st.integers(0, 30).map(lambda n: f"{n:x}"),
        url=st.integers(0, 5).map(lambda n: f"http://a.test/{n}"),
        score=st.integers(-2, 4),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.slow(4)
@pytest.mark.parametrize("rule", ["post", "sum"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(posts=POSTS, cuts=st.sets(st.integers(0, 25), max_size=3))
def test_any_chronological_split_enters_the_same_links(
    tmp_path_factory: pytest.TempPathFactory, rule: str, posts: list[dict[str, Any]], cuts: set[int]
) -> None:
    for at, each in enumerate(posts):
        each["created_utc"] = at // 2  # pairs share a second, and a split never parts them
    root = tmp_path_factory.mktemp("law")
    whole = make(root / "whole", karma_rule=rule)
    once = run(whole, "all", posts).rows
    split = make(root / "split", karma_rule=rule, partition_mb=0.002)  # several partitions
    bounds = [0, *sorted(2 * cut for cut in cuts), len(posts)]
    parts = [
        run(split, f"p{number}", posts[start:end]).rows
        for number, (start, end) in enumerate(pairwise(bounds))
        if posts[start:end]  # a dump without a submission is refused
    ]
    entered = [(row["url_key"], row["first_seen"], row["url"]) for part in parts for row in part]
    assert sorted(entered) == sorted((row["url_key"], row["first_seen"], row["url"]) for row in once)
