"""Which process crawls which partition, when claims, records and listings change between two looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dataprep.audit.under_way import open_steps
from dataprep.corpus.directory import Increment
from dataprep.crawl import hop, hop_plan
from dataprep.crawl.client import Client
from dataprep.crawl.hop_plan import HopPlan, Partition
from dataprep.crawl.progress import Watch
from dataprep.crawl.targets import Fetch
from dataprep.crawl.turns import Turns
from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump
from dataprep.store.claims import GivenUp
from dataprep.store.files import Output
from dataprep.store.presence import Presence
from dataprep.store.workers import new_worker
from support.ready_corpus import make_corpus

NOTHING = Output(path="", bytes=0, xxh3_128="")
NAMES = ["a", "b", "c"]
PLAN = HopPlan(
    hop="round-000-1",
    inputs={},
    partitions=[Partition(name=name, links=1, sites=1, targets=NOTHING) for name in NAMES],
    sizes=NOTHING,
)
Crawler = Callable[[str], Turns]


@pytest.fixture
def increment(tmp_path: Path) -> Increment:
    increment = make_corpus(tmp_path / "corpus").increment("one")
    for folder in (hop_plan.folder(increment), increment.path / "fetch", increment.path / "pages"):
        folder.mkdir(parents=True)
    hop_plan.plan_path(increment, PLAN.hop).write_bytes(dump(PLAN))
    return increment


@pytest.fixture
def crawler(increment: Increment) -> Crawler:
    """crawler(NAME) is a worker on a machine of that name."""

    def make(name: str) -> Turns:
        worker = new_worker("fetch", 1)
        worker.name = worker.host = worker.machine = name
        presence = Presence(increment.path.parents[1], worker)
        presence.show([])
        return Turns(increment, PLAN, presence, Watch(lambda _: None, "fetch", 3))

    return make


def taken(turns: Turns) -> str | None:
    partition = turns.claim(0, ())
    return partition.name if partition else None


def end(turns: Turns) -> None:
    """End the worker, as a task that is queued again does."""
    turns.release()
    turns.presence.worker.ended = "stopped"
    turns.presence.show([])


def test_a_claim_that_another_has_taken_meanwhile_is_seen(crawler: Crawler, increment: Increment) -> None:
    first, second, third = crawler("first"), crawler("second"), crawler("third")
    assert [taken(first) for _ in NAMES] == NAMES
    assert taken(third) is None  # it knows now who holds what
    end(first)
    assert taken(second) == "a"
    (increment.path / "pages" / "a-0001.journal").write_text("a line\n")
    assert [taken(third), taken(third), taken(third)] == ["b", "c", None]


def test_a_partition_whose_worker_got_on_and_is_gone_is_no_failure(
    crawler: Crawler, increment: Increment
) -> None:
    for number in range(1, 9):
        lost = crawler(f"node{number}")
        assert taken(lost) == "a"
        time.sleep(0.01)
        (increment.path / "pages" / f"a-{number:04d}.journal").write_text("a line\n")
        lost.presence.worker.ended = "killed"
        lost.presence.show([])
    assert taken(crawler("last")) == "a"
    (step,) = open_steps(increment.path.parents[1])
    assert (step.step, step.parts, step.failed) == ("fetch", 3, [])


def test_a_partition_that_ends_while_others_are_looked_for_is_no_failure(
    crawler: Crawler, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = crawler("node")
    own = [turns.claim(0, ()) for _ in NAMES]
    tries = turns._claims.tries

    def slow() -> object:
        for partition in own:
            assert partition
            turns.end(partition)
        return tries()

    monkeypatch.setattr(turns._claims, "tries", slow)
    assert turns.claim(0, ()) is None
    assert asyncio.run(turns.take(0)) is None


def test_what_was_done_since_the_look_is_not_begun(crawler: Crawler, increment: Increment) -> None:
    (increment.path / "fetch" / "a.json").write_text("{}")
    turns = crawler("node")
    assert taken(turns) == "b"
    assert sorted(path.name for path in turns._claims.folder.glob("*.claims/*")) == ["b.0001.json"]


def test_a_machine_tries_others_before_what_failed_on_it(crawler: Crawler) -> None:
    turns, order = crawler("node"), []
    for _ in range(9):
        partition = turns.claim(0, ())
        assert partition
        order.append(partition.name)
        turns.fail(partition, "no reason")
    assert order == ["a", "b", "c", "a", "a", "b", "b", "c", "c"]
    with pytest.raises(GivenUp, match="3 of the parts of round-000-1 failed too often"):
        turns.claim(0, ())


def test_a_crawl_that_another_has_finished_ends(crawler: Crawler, increment: Increment) -> None:
    turns = crawler("node")
    hop_plan.plan_path(increment, PLAN.hop).unlink()
    with pytest.raises(DataError, match="is gone; another command has finished or dropped this crawl"):
        turns.claim(0, ())


def test_what_could_not_be_given_back_is_when_the_worker_begins_again(
    crawler: Crawler, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = crawler("node")
    assert taken(turns) == "a"

    def fails(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(turns._claims, "release", fails)
        turns.release()
    assert taken(crawler("node")) == "a"


def test_sites_without_an_answer_count_until_a_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hop, "SILENT_SITES", 3)
    client = SimpleNamespace(heard=7)  # it was online before
    silence = hop.Silence(cast(Client, client))

    def dead(*sites: str) -> list[Fetch]:
        return [Fetch(url="", url_key=b"", site=site, outcome="connect_error") for site in sites]

    assert not silence.is_cut_off(dead("a", "b"), heard=7)
    client.heard = 8
    assert not silence.is_cut_off(dead("c", "d"), heard=7)
    assert not silence.is_cut_off(dead("e", "e"), heard=8)
    assert not silence.is_cut_off(dead("f"), heard=8)
    assert silence.is_cut_off(dead("g"), heard=8)
