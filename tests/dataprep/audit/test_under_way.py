"""What is seen of the work on a corpus, from the files that workers leave while they work."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from dataprep.audit.under_way import open_steps, under_way
from dataprep.corpus.directory import Corpus
from dataprep.store.step import plan_step
from support import open_work
from support.open_work import PARTS, PLACE
from support.toy_steps import SQUARE, Toy


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_work.begun(tmp_path_factory.mktemp("work") / "corpus").root


@pytest.fixture
def corpus(original: Path, tmp_path: Path) -> Corpus:
    return Corpus.open(shutil.copytree(original, tmp_path / "corpus"))


@pytest.mark.slow(1)
def test_an_open_step_tells_its_parts_their_size_and_its_pace(corpus: Corpus) -> None:
    plan = corpus.root / "jobs" / PLACE / "score.plan.json"
    os.utime(plan, (time.time() - 100, time.time() - 100))
    open_work.score(corpus, PARTS[2])
    (step,) = under_way(corpus).steps
    assert (step.step, step.place, step.unit) == ("score", PLACE, "documents")
    assert (step.parts, step.done, step.size, step.size_done) == (3, 1, 6, 3)
    assert step.per_s == pytest.approx(0.03, rel=0.1)
    assert step.left_s == pytest.approx(100, rel=0.1)


def test_a_step_that_is_none_of_a_corpus_has_its_own_unit(tmp_path: Path) -> None:
    plan_step(SQUARE, Toy(root=tmp_path))
    (step,) = open_steps(tmp_path)
    assert (step.step, step.place, step.unit, step.parts) == ("square", "things", SQUARE.unit, 4)


def test_the_pace_is_that_of_the_last_ten_minutes(corpus: Corpus) -> None:
    plan = corpus.root / "jobs" / PLACE / "score.plan.json"
    os.utime(plan, (time.time() - 9000, time.time() - 9000))
    for part, ago in ((PARTS[0], 30), (PARTS[2], 4000)):
        open_work.score(corpus, part)
        record = corpus.root / PLACE / "score" / f"{part}.json"
        os.utime(record, (time.time() - ago, time.time() - ago))
    (step,) = under_way(corpus).steps
    assert (step.done, step.size_done) == (2, 4)
    assert step.per_s == pytest.approx(1 / 600, rel=0.01)


def test_a_step_of_which_nothing_was_made_has_no_pace(corpus: Corpus) -> None:
    (step,) = under_way(corpus).steps
    assert (step.per_s, step.left_s) == (None, None)


def test_increments_tell_which_steps_are_whole(corpus: Corpus) -> None:
    first, second = under_way(corpus).increments
    assert (first.closed, first.built) == (True, True)
    assert (second.closed, second.built, second.whole) == (False, False, ["links", "fetch", "extract"])
    assert not under_way(corpus).is_done


def test_a_crawl_without_a_plan_tells_the_parts_that_it_has(corpus: Corpus) -> None:
    increment = corpus.increments()[-1]
    (increment.path / "fetch.step.json").unlink()
    (increment.path / "fetch").mkdir()
    (increment.path / "fetch" / "round-000-1-00000.json").write_text("{}")
    assert under_way(corpus).increments[-1].begun == {"fetch": 1}


def test_failed_parts_are_named_until_they_are_made(corpus: Corpus) -> None:
    worker = open_work.worker(corpus, "node7", log="/logs/1.log")
    claims = open_work.claims(corpus, worker)
    for part, tries in ((PARTS[0], 3), (PARTS[1], 1), (PARTS[2], 1)):
        for number in range(1, tries + 1):
            claims.take(part, number)
            claims.fail(part, number, "error", f"reason {number}")
    open_work.score(corpus, PARTS[2])
    now = under_way(corpus)
    first, second = now.steps[0].failed
    assert (first.part, first.tries, first.given_up) == (PARTS[0], 3, True)
    assert (first.last.host, first.last.reason, first.last.log) == ("node7", "reason 3", "/logs/1.log")
    assert (second.part, second.tries, second.given_up) == (PARTS[1], 1, False)
    assert now.given_up == [first]


def test_workers_are_at_work_silent_or_ended(corpus: Corpus) -> None:
    open_work.worker(corpus, "a", PARTS[0], silent_s=100)
    open_work.worker(corpus, "b", PARTS[1], silent_s=400)
    open_work.worker(corpus, "c", silent_s=4000, ended="done")
    states = {seen.worker.host: seen.state for seen in under_way(corpus).workers}
    assert states == {"a": "at work", "b": "silent", "c": "ended"}


def test_a_plan_that_is_damaged_or_just_gone_hides_nothing_else(corpus: Corpus) -> None:
    open_work.worker(corpus, "a")
    (corpus.root / "jobs" / PLACE / "score.plan.json").write_text("{}")
    now = under_way(corpus)
    assert now.steps == []
    assert len(now.workers) == 1
