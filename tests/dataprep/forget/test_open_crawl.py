"""`forget` does not wait for a crawl of weeks: a stopped increment loses it, and goes on without."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataprep.corpus import tombstones
from dataprep.corpus.directory import Corpus, Facts
from dataprep.corpus.recipe import Collect, NearDuplicates, Recipe, Select
from dataprep.crawl import rounds
from dataprep.steps import BY_NAME
from dataprep.store.files import read_table
from dataprep.store.step import make_part, plan_step
from support.cli import Ended, result, run
from support.kills import run_to_the_kill
from support.leaks import contents

pytestmark = pytest.mark.slow(12)

PAGE = "<html><head><title>{0}</title></head><body><article><p>{1}</p></article></body></html>"
WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
RECIPE = Recipe(
    name="open", collect=Collect(partition_mb=0.002), select=Select(near_duplicates=NearDuplicates())
)
PAGES = 12


def mark(name: object) -> str:
    return f"zyx{name}xyz"


@pytest.fixture(scope="module")
def desk(shared_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dump of twelve pages on three sites and two that are redirected, one of them to another site."""
    desk = tmp_path_factory.mktemp("open")
    urls = [f"http://open-{n % 3}.test/{n}" for n in range(PAGES)]
    for n, url in enumerate(urls):
        words = random.Random(n).choices(WORDS, k=150)
        shared_site.html(url, PAGE.format(f"title{n}", " ".join([*words[:70], mark(n), *words[70:]])))
    for name, target in (("hop", "http://open-0.test/hopped"), ("away", "http://open-2.test/moved")):
        shared_site.status(f"http://open-0.test/{name}", 302, Location=target)
        words = random.Random(name).choices(WORDS, k=150)
        shared_site.html(target, PAGE.format(name, " ".join([*words, mark(name)])))
        urls.append(f"http://open-0.test/{name}")
    same = {"score": 9, "subreddit": "x"}
    posts = [{"id": f"p{n}", "url": url, "created_utc": n, **same} for n, url in enumerate(urls)]
    (desk / "dump.json").write_text("\n".join(map(json.dumps, posts)))
    return desk


@pytest.fixture(scope="module")
def undisturbed(desk: Path, add: Callable[..., Ended]) -> Path:
    """The increment, added in one go."""
    Corpus.create(desk / "corpus", RECIPE)
    assert add(desk / "corpus").returncode == 0
    return desk / "corpus"


@pytest.fixture(scope="module")
def arguments(desk: Path, shared_site: Any) -> list[object]:
    crawl = ["--allow-loopback", f"--connect-to=::127.0.0.1:{shared_site.port}", "--delay=0", "--workers=1"]
    return [desk / "dump.json", *crawl]


@pytest.fixture(scope="module")
def add(arguments: list[object]) -> Callable[..., Ended]:
    return lambda root, *more: run("corpus", "add", root, *arguments, *more)


def left(root: Path) -> set[str]:
    """The marks that some file of a corpus holds, decompressed and decoded."""
    names = [*map(str, range(PAGES)), "hop", "away"]
    held = [data for _, data in contents(root)]
    return {name for name in names if any(mark(name).encode() in data for data in held)}


def kept(root: Path) -> set[bytes]:
    corpus = Corpus.open(root)
    outputs = [part.outputs["verdicts"] for part in corpus.current_build().parts("verdicts")]
    return {row["doc_id"] for row in read_table(root, outputs).to_pylist() if row["verdict"] == "kept"}


CASES = {
    "url": (["--url", "http://open-1.test/4"], {"4"}),
    "redirect": (["--url", "http://open-0.test/hopped"], {"hop"}),
    "moved": (["--url", "http://open-0.test/away"], {"away"}),
    "site": (["--site", "open-2.test"], {"2", "5", "8", "11", "away"}),
    "submission": (["--submission", "p3"], {"3"}),
}


STOPS = [
    ("links", "url"),
    ("4 pages", "site"),
    ("4 pages", "redirect"),
    ("11 pages", "site"),
    ("11 pages", "moved"),
    ("11 pages", "submission"),
    ("fetch", "moved"),
    ("1 part", "url"),
    ("extract", "site"),
    ("score", "redirect"),
]


@pytest.mark.parametrize(("until", "case"), STOPS)
def test_an_open_increment_forgets_at_once_and_ends_as_if_it_had_been_forgotten_at_the_end(
    undisturbed: Path,
    tmp_path: Path,
    add: Callable[..., Ended],
    arguments: list[object],
    until: str,
    case: str,
) -> None:
    words, gone = CASES[case]
    root, whole = tmp_path / "open", tmp_path / "whole"
    shutil.copytree(undisturbed, whole)
    result("corpus", "forget", whole, *words)

    Corpus.create(root, RECIPE)

    number, _, what = until.partition(" ")
    if not what:
        assert add(root, "--until", until).returncode == 0
    else:
        assert run_to_the_kill("after", number, what, "corpus", "add", root, *arguments)
    result("corpus", "forget", root, *words)
    assert left(root).isdisjoint(gone)
    result("corpus", "status", root)
    ended = add(root)
    assert ended.returncode == 0, ended.stderr
    assert result("corpus", "verify", root)["problems"] == []
    assert left(root) == left(whole)
    assert kept(root) == kept(whole)
    assert len(kept(root)) == PAGES + 2 - len(gone)


def test_a_document_is_remembered_by_its_partition_when_an_earlier_one_is_not_made_yet(
    undisturbed: Path, tmp_path: Path, add: Callable[..., Ended]
) -> None:
    root, whole = tmp_path / "open", tmp_path / "whole"
    shutil.copytree(undisturbed, whole)
    corpus = Corpus.create(root, RECIPE)
    assert add(root, "--until", "fetch").returncode == 0
    (increment,) = corpus.increments()
    rounds.finish(increment)
    step, scope = BY_NAME["extract"], Facts(corpus, increment)
    last = plan_step(step, scope).parts[-1].name
    number = int(last.rpartition("-")[2])
    assert number >= 2
    made = make_part(step, scope, last, 1, lambda _: None)
    url = read_table(root, made.outputs.values())["url"][0].as_py()
    for each in (root, whole):
        result("corpus", "forget", each, "--url", url)
    remembered = [part for part in range(number + 1) if tombstones.shingles(root, 1, part)]
    assert remembered == [number]
    assert add(root).returncode == 0
    assert result("corpus", "verify", root)["problems"] == []
    assert (left(root), kept(root)) == (left(whole), kept(whole))
