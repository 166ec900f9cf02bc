"""Which links enter an increment, and why the others do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprep import links
from dataprep.corpus import Corpus
from dataprep.errors import DataError
from dataprep.recipe import Collect, Links, Recipe
from dataprep.store import Record, read_table


def post(
    identifier: str, url: str = "http://a.test/1", score: Any = 5, at: Any = 100, **more: Any
) -> dict[str, Any]:
    return {"id": identifier, "url": url, "score": score, "created_utc": at, "subreddit": "x", **more}


def run(corpus: Corpus, name: str, posts: Sequence[dict[str, Any]]) -> Record:
    dump = corpus.root.with_name(f"{corpus.root.name}-{name}.json")
    dump.write_text("\n".join(json.dumps(each) for each in posts))
    increment = corpus.increment(name)
    record = links.run(corpus, increment, [dump], lambda _: None)
    (increment.path / "increment.json").write_text("{}")
    assert record.entered == record.passed + sum(record.reasons.values())
    return record


def make(root: Path, **rules: Any) -> Corpus:
    return Corpus.create(root, Recipe(name="t", collect=Collect(links=Links(**rules))))


def rows(corpus: Corpus, record: Record) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(corpus.root, record.outputs[:1]).to_pylist()
    return found


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("self_post", post("b", is_self=True)),
        ("over_18", post("b", over_18=True)),
        ("removed", post("b", removed_by_category="moderator")),
        ("after_date", post("b", at=1514764800)),
        ("no_link", post("b", url="/r/x/comments/1")),
        ("no_link", post("b", url=None)),
        ("reddit", post("b", url="https://i.redd.it/x")),
        ("media_site", post("b", url="https://www.youtube.com/watch?v=1")),
        ("blocked_site", post("b", url="https://de.wikipedia.org/wiki/X")),
        ("blocked_subreddit", post("b", subreddit="Spam")),
        ("blocked_extension", post("b", url="http://a.test/x.PDF?y=1")),
        ("below_karma", post("b", url="http://a.test/2", score=2)),
        ("merged", post("b", url="https://a.test/1?utm_source=x")),
        ("repeated_submission", post("a")),
        ("bad_record", post("b", score="many")),
        ("bad_record", post("b", at=None)),
    ],
)
def test_every_lost_submission_has_a_reason(tmp_path: Path, reason: str, bad: dict[str, Any]) -> None:
    corpus = make(
        tmp_path / "c", until="2018-01-01", blocked_sites=["wikipedia.org"], blocked_subreddits=["spam"]
    )
    record = run(corpus, "one", [post("a"), bad])
    assert (record.entered, record.passed, record.reasons) == (2, 1, {reason: 1})


def test_a_url_under_the_bar_enters_in_the_month_in_which_it_reaches_it(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c")
    assert run(corpus, "one", [post("a", score=1)]).reasons == {"below_karma": 1}
    entered = run(corpus, "two", [post("b", score=7, at=200)])
    assert [row["first_seen"] for row in rows(corpus, entered)] == [200]
    assert run(corpus, "three", [post("c", score=9, at=300)]).reasons == {"already_entered": 1}


def test_karma_by_sum_runs_on_over_increments_and_counts_a_submission_once(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c", karma_rule="sum")
    run(corpus, "one", [post("a", score=2)])
    assert run(corpus, "two", [post("a", score=2)]).reasons == {"repeated_submission": 1}
    entered = run(corpus, "three", [post("b", score=1, at=300)])
    assert [row["karma"] for row in rows(corpus, entered)] == [3]


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


POSTS = st.lists(
    st.builds(
        post,
        identifier=st.integers(0, 30).map(lambda n: f"{n:x}"),
        url=st.integers(0, 5).map(lambda n: f"http://a.test/{n}"),
        score=st.integers(-2, 4),
    ),
    max_size=25,
)


@pytest.mark.parametrize("rule", ["post", "sum"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(posts=POSTS, cuts=st.sets(st.integers(0, 25), max_size=3))
def test_any_chronological_split_enters_the_same_links(
    tmp_path_factory: pytest.TempPathFactory, rule: str, posts: list[dict[str, Any]], cuts: set[int]
) -> None:
    for at, each in enumerate(posts):
        each["created_utc"] = at // 2  # pairs share a second, and a split never parts them
    root = tmp_path_factory.mktemp("law")
    whole = make(root / "whole", karma_rule=rule)
    once = rows(whole, run(whole, "all", posts))
    split = make(root / "split", karma_rule=rule)
    bounds = [0, *sorted(2 * cut for cut in cuts), len(posts)]
    parts = [
        rows(split, run(split, f"p{number}", posts[start:end]))
        for number, (start, end) in enumerate(pairwise(bounds))
    ]
    entered = [(row["url_key"], row["first_seen"], row["url"]) for part in parts for row in part]
    assert sorted(entered) == sorted((row["url_key"], row["first_seen"], row["url"]) for row in once)
