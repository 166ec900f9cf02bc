"""A command that is killed between any two writes leaves nothing that `verify` misses, and goes on."""

import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dataprep.audit import gc
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.corpus.known_files import not_known_yet, rewriting
from dataprep.errors import DataError
from dataprep.forget.command import Asked, forget
from dataprep.ingest import extend
from dataprep.links import karma
from dataprep.store import root_manifest
from dataprep.store.files import replace
from dataprep.store.records import finish_led
from support.ready_corpus import add_pages, commit_part, make_corpus, no_progress

PAGES = [(n, f"http://a.test/{n}", f"page {n} of a book on ships, number {n * n} " * 9) for n in range(3)]
CHANGES = ("link", "replace", "rename", "unlink")


class Killed(BaseException):
    """Not an error that anything handles."""


def is_killed(number: int, work: Callable[..., object], *arguments: Any) -> bool:
    """Work, but do only so many changes to directories, as if dead from then on; False if these are all."""
    left = [number]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*arguments, **options)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (*((os, name) for name in CHANGES), (shutil, "rmtree")):
            patch.setattr(module, name, counted(getattr(module, name)))
        try:
            work(*arguments)
        except Killed:
            return True
    return False


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two builds, a report, and an increment that has links alone."""
    root = tmp_path_factory.mktemp("made") / "corpus"
    corpus = make_corpus(root)
    add_pages(corpus, "one", PAGES)
    extend(corpus, 1, no_progress)
    select_again(corpus)
    with rewriting(root, root / "report.html"):
        replace(root / "report.html", b"a page")
    opened = corpus.increment("two")
    rows = [{"url_key": bytes(16), "url": "http://b.test/", "submissions": []}]
    commit_part(corpus, opened, "links", 0, rows, karma.SCHEMA)
    finish_led(opened.path, "links", {})
    extend(corpus, 1, no_progress)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` for one test."""
    return shutil.copytree(made, tmp_path / "corpus")


def select_again(corpus: Corpus) -> None:
    select = corpus.recipe.select.model_copy(update={"min_words": 5})
    extend(Corpus(corpus.root, corpus.recipe.model_copy(update={"select": select})), 1, no_progress)


def remove_old_builds(corpus: Corpus) -> None:
    gc.remove(corpus, gc.find(corpus, only_current_build=True))


def drop(corpus: Corpus) -> None:
    if any(increment.name == "two" for increment in corpus.increments()):
        corpus.drop("two")


def forget_a_page(corpus: Corpus) -> None:
    forget(corpus, Asked(url=PAGES[1][1]), [], no_progress)


def report(corpus: Corpus) -> None:
    with rewriting(corpus.root, corpus.root / "report.html"):
        replace(corpus.root / "report.html", b"another page")


COMMANDS = [remove_old_builds, drop, forget_a_page, report]


@pytest.mark.slow(4)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_kill_at_any_write_is_no_loss_and_the_command_goes_on(
    made: Path, tmp_path: Path, command: Callable[[Corpus], None]
) -> None:
    for number in count():
        root = shutil.copytree(made, tmp_path / str(number))
        killed = is_killed(number, command, Corpus.open(root))
        corpus = Corpus.open(root, forgetting=True)
        found = list(problems(corpus))
        assert [line for line in found if "`outbound corpus forget" not in line] == []
        command(corpus)
        assert list(problems(corpus)) == []
        assert root_manifest.lost(root) == []
        if not killed:
            break
    assert number > 1


@pytest.mark.slow(40)
def test_a_selection_that_is_killed_at_any_write_is_no_loss_and_the_command_goes_on(
    made: Path, tmp_path: Path
) -> None:
    for number in count(0, 7):
        root = shutil.copytree(made, tmp_path / str(number))
        shutil.rmtree(root / "builds")
        root_manifest.release(root, ["builds"])
        killed = is_killed(number, extend, Corpus.open(root), 1, no_progress)
        corpus = Corpus.open(root)
        assert list(problems(corpus)) == []
        extend(corpus, 1, no_progress)
        assert list(problems(corpus)) == []
        assert not_known_yet(root) == []
        if not killed:
            break
    assert number > 7


def test_of_two_reports_at_once_the_last_one_counts(root: Path) -> None:
    page = root / "report.html"
    with rewriting(root, page):
        with rewriting(root, page):
            replace(page, b"of another process")
        replace(page, b"ours")
    assert list(problems(Corpus.open(root))) == []


@pytest.mark.parametrize(
    "name", ["manifest.json", "recipe.yaml", "collect.json", "increments/0001-one/increment.json"]
)
def test_no_command_works_in_a_corpus_that_has_lost_a_fact(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(
        DataError, match=f"{Path(name).name}: (is missing|cannot be read).*restore it from a copy"
    ):
        Corpus.open(root)


def test_an_open_increment_that_has_lost_a_file_can_be_dropped_and_a_closed_one_cannot(
    root: Path,
) -> None:
    (root / "increments/0002-two/links.step.json").unlink()
    with pytest.raises(DataError, match=r"links\.step\.json: is missing.*corpus drop .* two"):
        Corpus.open(root)
    (root / "increments/0001-one/increment.json").unlink()
    corpus = Corpus.open(root, damaged=True)
    with pytest.raises(DataError, match="is finished, and its facts stay"):
        corpus.drop("one")
    corpus.drop("two")
    assert root_manifest.lost(root) == ["increments/0001-one/increment.json"]


def test_an_open_increment_that_was_removed_by_hand_can_be_dropped(root: Path) -> None:
    shutil.rmtree(root / "increments/0002-two")
    with pytest.raises(DataError, match=r"begin anew after `outbound corpus drop .* two`"):
        Corpus.open(root)
    Corpus.open(root, damaged=True).drop("two")
    assert list(problems(Corpus.open(root))) == []


def test_an_increment_that_began_anew_after_a_killed_drop_can_be_dropped(root: Path) -> None:
    shutil.copytree(root / "increments/0002-two", root / "increments/.dropped-0002-two")
    Corpus.open(root).drop("two")
    assert sorted(path.name for path in (root / "increments").glob("*")) == ["0001-one"]


def test_a_corpus_of_which_nothing_but_the_manifest_stands_yet_can_be_made(tmp_path: Path) -> None:
    root_manifest.create(tmp_path)
    make_corpus(tmp_path)
    assert list(problems(Corpus.open(tmp_path))) == []


def test_what_an_increments_own_command_makes_again_may_be_missing_to_it(root: Path) -> None:
    (root / "increments/0001-one/increment.json").unlink()
    Corpus.open(root, remaking=True)
    (root / "collect.json").unlink()
    with pytest.raises(DataError, match=r"collect\.json: is missing"):
        Corpus.open(root, remaking=True)
