"""Which links enter an increment, and why the others do not."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dataprep import ingest
from dataprep.audit import gc
from dataprep.audit.status import status
from dataprep.audit.verify import problems, unknown
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Links, Recipe
from dataprep.errors import DataError
from dataprep.forget import run as forgetting
from dataprep.forget.scope import of_url
from dataprep.links.index import LinkIndex
from dataprep.links.inputs import agree
from dataprep.links.karma import enter
from dataprep.store import external_sort
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import read_table
from dataprep.store.records import Record, load_step, recommit, step_path
from support.cli import run as command
from support.kills import die_within, killed
from support.leaks import contents
from support.ready_corpus import enter_links, no_progress


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
    whole = enter_links(corpus, name, [dump])
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


def test_by_post_the_karma_of_a_url_is_that_of_its_best_post(tmp_path: Path) -> None:
    scores = {"a": 2, "b": 4, "c": 9, "d": 5}
    posts = [post(name, score=score, at=100 + n) for n, (name, score) in enumerate(scores.items())]
    (row,) = run(make(tmp_path / "c"), "one", posts).rows
    assert (row["karma"], row["first_seen"]) == (9, 101)


def test_posts_of_one_second_stand_in_the_order_of_their_submissions(tmp_path: Path) -> None:
    """Not in that of the dump."""
    posts = [post("10", url="https://a.test/1"), post("z", url="http://a.test/1")]
    (row,) = run(make(tmp_path / "c"), "one", posts).rows
    assert row["url"] == "http://a.test/1"
    assert [each["id"] for each in row["submissions"]] == ["z", "10"]


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


def test_an_increment_goes_on_with_the_dumps_with_which_it_began(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c")
    dump, moved, other = (tmp_path / name for name in ("dump.json", "moved.json", "other.json"))
    dump.write_text(json.dumps(post("a")))
    other.write_text(json.dumps(post("b")))
    agree(corpus.increment("one"), [dump], 1, no_progress)
    dump.rename(moved)
    with pytest.raises(DataError, match=r"dumps\.json: was made from other inputs .* `outbound corpus drop`"):
        enter_links(corpus, "one", [other])
    whole = enter_links(corpus, "one", [moved])
    assert [part.passed for part in whole.parts] == [1]
    with pytest.raises(DataError, match=r"links\.step\.json: was made from other inputs"):
        enter_links(corpus, "one", [other])
    assert enter_links(corpus, "one", [moved]) == whole


def test_links_of_another_version_that_was_stopped_are_made_again(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c", partition_mb=0.05)
    dump = tmp_path / "dump.json"
    dump.write_text("\n".join(json.dumps(each) for each in many(500)))
    whole = enter_links(corpus, "one", [dump])
    path = corpus.increments()[0].path
    step_path(path, "links").unlink()
    recommit(path / "links/part-00000.json", replace(whole.parts[0], versions={"url_policy": "0"}, passed=0))
    assert enter_links(corpus, "one", [dump]) == whole


def several(desk: Path) -> list[Path]:
    """Three dumps; then the first once more, and a dump with damaged lines."""
    posts = [
        post(f"{at % 4001:x}", f"http://s{at % 5}.test/{at % 311}", score=at % 11 - 5, at=at // 3)
        for at in range(6000)
    ]
    paths = [desk / f"{number}.json" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_text("\n".join(json.dumps(each) for each in posts[number::3]))
    damaged = desk / "damaged.json"
    damaged.write_text("\n".join(["none", json.dumps(post("x", score="many")), json.dumps(post("y", at=1))]))
    return [*paths, paths[0], damaged]


def facts(corpus: Corpus) -> dict[str, Any]:
    """The rows of the last increment's links, its counts and its index, without the cuts between parts."""
    increment = corpus.increments()[-1]
    whole = load_step(step_path(increment.path, "links"))
    rows = read_table(corpus.root, whole.outputs("links")).to_pylist()
    found = corpus.index(increment)
    assert found
    index = LinkIndex.load(corpus.root, found)
    arrays = (index.urls_in(0, 1 << 64), index.submissions_in(0, 1 << 64))
    return {
        "counts": Ran(whole.parts, rows).counts,
        "rows": xxhash.xxh3_128_hexdigest(json.dumps(rows, default=bytes.hex).encode()),
        "index": [xxhash.xxh3_128_hexdigest(array.tobytes()) for array in arrays],
        "damage": [each for record in increment.records("links") for each in record.noted(InputNotes).damage],
    }


ONE = {
    "counts": (2000, 505, {"below_karma": 1293, "merged": 202}),
    "rows": "1c20d107e9b7be09109c9d464b2f7e45",
    "index": ["eb30c6aa383e7896849920f9485d6ffb", "c6a4cd39f9fea35bd2e19e728f2396f8"],
    "damage": [],
}
REASONS = {
    "already_entered": 654,
    "bad_record": 2,
    "below_karma": 1057,
    "merged": 68,
    "repeated_submission": 3999,
}
TWO = {
    "counts": (6003, 223, REASONS),
    "rows": "09cd767f7443692fd95e6805245256a1",
    "index": ["3e8c7de9e3f35c7a9e10adc64b572e46", "ad846e332e8162848bd177c5e825cfe5"],
}


@pytest.mark.parametrize("partition_mb", [256, 0.5])
def test_the_links_are_those_of_one_process_that_reads_all_dumps(tmp_path: Path, partition_mb: float) -> None:
    """The hashes are those that such a process made, before the step had parts."""
    corpus = make(tmp_path / "c", partition_mb=partition_mb, karma_rule="sum")
    first, *dumps = several(tmp_path)
    enter_links(corpus, "one", [first])
    assert facts(corpus) == ONE
    ingest.close(corpus.increments()[0])
    enter_links(corpus, "two", dumps)
    damage = FileDamage(
        str(dumps[-1]),
        lines=3,
        bad_lines=2,
        examples=[
            "line 1: JSON is malformed: invalid character (byte 4)",
            "id x: score 'many' and created_utc 100 are not both numbers",
        ],
    )
    assert facts(corpus) == TWO | {"damage": [damage]}


@pytest.mark.parametrize("place", ["posts.read_dump", "posts.read", "repeats.places"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_command_that_is_overtaken_by_another_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, call: int
) -> None:
    """The other finishes the links, and removes what this one is reading."""
    corpus, calm = (make(tmp_path / name, partition_mb=2) for name in ("corpus", "calm"))
    dumps = several(tmp_path)
    enter_links(calm, "one", dumps)
    module, name = place.split(".")
    path = f"dataprep.links.{module}"
    function, calls = getattr(import_module(path), name), count(1)

    def overtaken(*arguments: Any) -> Any:
        if next(calls) == call:
            assert not killed(enter_links, corpus, "one", dumps)  # in a fork
        return function(*arguments)

    monkeypatch.setattr(f"{path}.{name}", overtaken)
    enter_links(corpus, "one", dumps)
    assert next(calls) > call
    assert made(corpus) == made(calm)


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A corpus whose links are half made; nothing of the command that made them runs."""
    corpus, calls = make(tmp_path / "stopped", partition_mb=2), count(1)

    def stopping(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return enter(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("dataprep.links.stage.enter", stopping)
        with pytest.raises(KeyboardInterrupt):
            enter_links(corpus, "one", several(tmp_path))
    assert len(corpus.increments()[0].records("links")) == 1
    return corpus


def test_what_is_forgotten_while_links_are_half_made_stays_out(tmp_path: Path, stopped: Corpus) -> None:
    calm = make(tmp_path / "calm", partition_mb=2)
    gone = "http://s1.test/1"
    for corpus in (calm, stopped):
        forgetting.begin(corpus, of_url(corpus, gone))
        forgetting.finish(corpus, lambda _: None)
        assert not [path for path, data in contents(corpus.root) if gone.encode() in data]
        assert unknown(corpus) == []
    for corpus in (calm, stopped):
        enter_links(corpus, "one", several(tmp_path))
    assert facts(stopped) == facts(calm)
    assert facts(calm)["counts"][2]["forgotten"]


def test_gc_removes_what_was_read_for_links_that_are_half_made(tmp_path: Path, stopped: Corpus) -> None:
    work = stopped.increments()[0].path / "work"
    assert status(stopped).bytes["work"]
    assert list(problems(stopped)) == []
    garbage = gc.find(stopped)
    assert work in [piece.path for piece in garbage]
    gc.remove(stopped, garbage)
    calm = make(tmp_path / "calm", partition_mb=2)
    for corpus in (calm, stopped):
        enter_links(corpus, "one", several(tmp_path))
    assert made(stopped) == made(calm)
    assert list(problems(stopped)) == unknown(stopped) == []


@pytest.mark.slow(5)
def test_two_commands_at_once_end_with_the_same_bytes(tmp_path: Path) -> None:
    """No lock keeps them apart here."""
    calm = make(tmp_path / "calm", partition_mb=0.5)
    dumps = several(tmp_path)
    enter_links(calm, "one", dumps)
    for attempt in range(4):
        corpus = make(tmp_path / f"{attempt}", partition_mb=0.5)
        children = []
        for number in range(2):
            child = os.fork()
            if not child:
                time.sleep(number * attempt * 0.1)
                os._exit(not _ends_well(enter_links, corpus, "one", dumps))
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        assert made(corpus) == made(calm)


def _ends_well(work: Callable[..., object], *arguments: Any) -> bool:
    try:
        work(*arguments)
    except BaseException:
        traceback.print_exc()
        return False
    return True


def made(corpus: Corpus) -> dict[str, bytes]:
    """All files but those of killed attempts."""
    files = [path for path in corpus.root.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(corpus.root)): path.read_bytes() for path in files}


@pytest.mark.slow(1)
def test_neither_partitions_nor_runs_change_what_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = make(tmp_path / "whole")
    whole = run(at_once, "one", many(2000))
    monkeypatch.setattr(external_sort, "RUN_BYTES", 20_000)
    monkeypatch.setattr("dataprep.links.posts.BATCH", 50)
    corpus = make(tmp_path / "cut", partition_mb=0.05)
    cut = run(corpus, "one", many(2000))
    assert list(problems(corpus)) == []
    assert len(whole.records) == 1
    assert len(cut.records) > 5
    assert cut.rows == whole.rows
    assert cut.counts == whole.counts
    assert facts(corpus) == facts(at_once)


@pytest.mark.parametrize("options", [[], ["--until", "dumps"]])
def test_a_truncated_dump_ends_the_command_unless_it_is_allowed(tmp_path: Path, options: list[str]) -> None:
    text = "\n".join(json.dumps(post(f"{n:x}", f"http://a.test/{n}")) for n in range(400)).encode()
    dump = tmp_path / "RS_2013-08.gz"
    dump.write_bytes(gzip.compress(text)[:-100])
    corpus = make(tmp_path / "corpus")
    words = ["corpus", "add", corpus.root, dump]
    if options:
        assert command(*words, *options).returncode == 0
        refused = command("corpus", "work", corpus.root, "--stage", "links", "--processes", "1")
    else:
        refused = command(*words, "--until", "links")
        assert corpus.increments() == []
    assert refused.returncode == 1
    assert "RS_2013-08.gz: is not whole (unreadable after" in refused.stderr
    assert "--allow-truncated" in refused.stderr
    taken = command(*words, "--until", "links", "--allow-truncated", "--json")
    assert taken.returncode == 0
    (damage,) = json.loads(taken.stdout)["damage"]
    assert "cut at byte" in damage["stopped"]
    (increment,) = corpus.increments()
    assert 100 < sum(record.passed for record in increment.records("links")) < 400


def test_a_dump_of_comments_is_named(tmp_path: Path) -> None:
    comment = {"id": "a", "body": "yes", "link_id": "t3_b", "parent_id": "t3_b", "score": 5, "created_utc": 1}
    (tmp_path / "RC_2013-08").write_text(json.dumps(comment) + "\n")
    corpus = make(tmp_path / "corpus")
    with pytest.raises(DataError, match=r"RC_2013-08: holds no submission \(it is a dump of comments"):
        enter_links(corpus, "one", [tmp_path / "RC_2013-08"])
    assert corpus.increments() == []


@pytest.mark.slow(4)
def test_killed_at_any_moment_the_stage_is_run_again_to_the_same_bytes(tmp_path: Path) -> None:
    def run_until(moment: float, corpus: Corpus) -> None:
        die_within(moment)
        enter_links(corpus, "one", [dump])

    dump = tmp_path / "dump.json"
    dump.write_text("\n".join(json.dumps(each) for each in many(20_000)))
    undisturbed = make(tmp_path / "undisturbed", partition_mb=0.5)
    began = time.monotonic()
    enter_links(undisturbed, "one", [dump])
    seconds = time.monotonic() - began
    chance = random.Random(1)
    for quarter in range(4):
        moment = seconds * (quarter + chance.random()) / 4
        for attempt in count():  # again, and sooner, where the child was faster than we were
            disturbed = make(tmp_path / f"{quarter}-{attempt}", partition_mb=0.5)
            if killed(run_until, moment * 0.8**attempt, disturbed):
                break
        enter_links(disturbed, "one", [dump])
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


@pytest.mark.slow(6)
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
    split = make(root / "split", karma_rule=rule, partition_mb=0.01)  # several partitions
    bounds = [0, *sorted(2 * cut for cut in cuts), len(posts)]
    parts = [
        run(split, f"p{number}", posts[start:end]).rows
        for number, (start, end) in enumerate(pairwise(bounds))
        if posts[start:end]  # a dump without a submission is refused
    ]
    entered = [(row["url_key"], row["first_seen"], row["url"]) for part in parts for row in part]
    assert sorted(entered) == sorted((row["url_key"], row["first_seen"], row["url"]) for row in once)
