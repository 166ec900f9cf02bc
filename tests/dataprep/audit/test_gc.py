"""`gc` removes what no record names, never what a command still writes; `drop` leaves nothing behind."""

import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from dataprep.audit import gc
from dataprep.audit.verify import problems, unknown
from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.ingest import extend
from dataprep.store import locks
from dataprep.store.files import attempt_path
from dataprep.store.records import Record
from dataprep.store.step import Step, make_part
from support.ready_corpus import add_pages, enter_links, make_corpus, no_progress

DEAD = 4_194_304 + 1  # above the kernel's largest pid_max


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    made = make_corpus(tmp_path)
    add_pages(made, "one", [(n, f"http://a.test/{n}", f"page {n} of a book on ships " * 9) for n in range(6)])
    extend(made, 1, no_progress)
    return made


def tree(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def test_what_killed_commands_left_is_found_and_removed_and_nothing_else(corpus: Corpus) -> None:
    before = tree(corpus.root)
    documents = next(corpus.root.glob("increments/*/extract"))
    orphan = documents / "part-00000-0123456789ab.parquet"
    dead = documents / f".part-00009.{socket.gethostname()}.{DEAD}.part"
    journal = documents.parent / "pages" / "round-000-1-00000-0001.journal"
    for path in (orphan, dead, journal):
        path.parent.mkdir(exist_ok=True)
        path.write_text("left")
    found = gc.find(corpus)
    assert {each.path for each in found} == {orphan, dead, journal}
    assert {each.bytes for each in found} == {4}
    gc.remove(corpus, found)
    assert tree(corpus.root) == before
    assert list(problems(corpus)) == []


def test_the_file_of_an_attempt_that_runs_is_left_alone(corpus: Corpus) -> None:
    folder = next(corpus.root.glob("increments/*/score"))
    mine = attempt_path(folder, "part-00000")
    fresh, stale = (folder / f".part-0000{n}.elsewhere.{n}.part" for n in (1, 2))
    for path in (mine, fresh, stale):
        path.write_text("writing")
    long_ago = time.time() - gc.QUIET_S - 60
    os.utime(stale, (long_ago, long_ago))
    assert [each.path for each in gc.find(corpus)] == [stale]


@pytest.mark.slow(1)
def test_old_builds_go_only_when_asked_and_can_be_made_again(corpus: Corpus) -> None:
    old = corpus.current_build()
    select = corpus.recipe.select.model_copy(update={"min_words": 5})
    extend(Corpus(corpus.root, corpus.recipe.model_copy(update={"select": select})), 1, no_progress)
    assert gc.find(corpus) == []
    before = {path.relative_to(old.path): path.read_bytes() for path in tree(old.path)}
    gc.remove(corpus, gc.find(corpus, only_current_build=True))
    assert not old.path.exists()
    assert extend(corpus, 1, no_progress) == old
    assert {path.relative_to(old.path): path.read_bytes() for path in tree(old.path)} == before


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    "pattern",
    [
        "manifest.json",
        "builds/current",
        "builds/*/*/verdicts.step.json",
        "builds/*/*/verdicts/00000.json",
        "increments/*/links.step.json",
        "increments/*/extract/part-00000.json",
        "increments/*/increment.json",
    ],
)
def test_nothing_is_offered_while_a_file_is_missing_that_may_have_named_it(
    corpus: Corpus, pattern: str
) -> None:
    (path,) = corpus.root.glob(pattern)
    path.unlink()
    with pytest.raises(DataError, match=path.name) as refused:
        gc.find(corpus)
    assert "restore it from a copy" in str(refused.value)


@pytest.mark.slow(1)
def test_an_old_build_of_which_a_file_is_missing_goes_when_asked(corpus: Corpus) -> None:
    old = corpus.current_build()
    select = corpus.recipe.select.model_copy(update={"min_words": 5})
    extend(Corpus(corpus.root, corpus.recipe.model_copy(update={"select": select})), 1, no_progress)
    next(old.path.glob("*/verdicts.step.json")).unlink()
    with pytest.raises(DataError, match=r"verdicts\.step\.json.*--builds current"):
        gc.find(corpus)
    gc.remove(corpus, gc.find(corpus, only_current_build=True))
    assert gc.find(corpus) == []
    shutil.rmtree(corpus.current_build().path)  # by hand
    extend(corpus, 1, no_progress)
    gc.remove(corpus, gc.find(corpus, only_current_build=True))
    assert gc.find(corpus) == []
    assert list(problems(corpus)) == []


@pytest.mark.slow(1)
@pytest.mark.parametrize("step", ["select", "order", "candidates", "near_duplicates"])
def test_one_run_removes_all_that_a_killed_selection_left(
    corpus: Corpus, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, again = tree(corpus.root), corpus.current_build().name
    select = corpus.recipe.select.model_copy(update={"min_words": 5})
    other = Corpus(corpus.root, corpus.recipe.model_copy(update={"select": select}))

    def killed_in_step(each: Step[Any], *arguments: Any) -> Record:
        if each.name == step:
            raise KeyboardInterrupt
        return make_part(each, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr("dataprep.store.step.make_part", killed_in_step)
        with pytest.raises(KeyboardInterrupt):
            extend(other, 1, no_progress)
    found = gc.find(corpus)
    (begun,) = {path for path in (corpus.root / "builds").iterdir() if path.name not in (again, "current")}
    assert [each.path for each in found] == [begun, corpus.root / "jobs" / "builds"]
    gc.remove(corpus, found)
    assert gc.find(corpus) == []
    assert tree(corpus.root) == before
    extend(other, 1, no_progress)
    assert list(problems(corpus)) == []


def test_files_of_yours_are_told_and_kept(corpus: Corpus) -> None:
    (corpus.root / "notes.txt").write_text("mine")
    assert unknown(corpus) == ["notes.txt"]
    assert gc.find(corpus) == []


def test_nothing_is_removed_while_a_command_is_at_work(corpus: Corpus) -> None:
    busy = pytest.raises(DataError, match="another command is at work")
    with locks.shared(corpus.root), locks.shared(corpus.root), busy, locks.alone(corpus.root):
        pass
    with locks.alone(corpus.root), pytest.raises(DataError, match="removes"), locks.shared(corpus.root):
        pass


POST = '{"id": "1", "url": "http://b.test/", "score": 9, "created_utc": 1, "subreddit": "x"}'


def test_a_dropped_increment_leaves_no_index(tmp_path: Path) -> None:
    corpus, dump = make_corpus(tmp_path / "corpus"), tmp_path / "dump.json"
    dump.write_text(POST)
    before = tree(corpus.root)
    enter_links(corpus, "one", [dump])
    assert len(tree(corpus.root) - before) == 6  # dumps.json, a record, a table, two arrays, the step file
    corpus.drop("one")
    assert tree(corpus.root) == before


@pytest.mark.parametrize("step", ["unlink", "rename", "rmtree"])
def test_a_drop_that_is_killed_is_finished_by_the_next(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, dump = make_corpus(tmp_path / "corpus"), tmp_path / "dump.json"
    dump.write_text(POST)
    before = tree(corpus.root)
    enter_links(corpus, "one", [dump])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((shutil, step) if step == "rmtree" else (Path, step)), killed)
        with pytest.raises(KeyboardInterrupt):
            corpus.drop("one")
    corpus.drop("one")
    assert tree(corpus.root) == before
    dump.write_text(POST.replace("9", "8"))
    again = enter_links(corpus, "one", [dump])
    assert sum(part.passed for part in again.parts) == 1
