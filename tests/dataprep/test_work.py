"""`corpus work`: workers on a corpus make what one command makes, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from dataprep.corpus.directory import Corpus
from dataprep.store.workers import all_workers
from support import cli, fetched_corpus
from support.cli import result, run
from support.fetched_corpus import files
from support.patience import wait_until


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("work")
    fetched_corpus.make(home)
    return home / "corpus"


def start(corpus: Path, *words: str) -> subprocess.Popen[str]:
    return cli.start("corpus", "work", corpus, *words)


@pytest.mark.slow(15)
def test_three_workers_make_what_one_command_makes(fetched: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(fetched, corpus)
    workers = [start(corpus, "--processes", "1") for _ in range(3)]
    for worker in workers:
        cli.wait_for(worker)
    assert files(corpus) == files(fetched.parent / "whole")
    assert result("corpus", "verify", corpus)["problems"] == []
    assert garbage(corpus) == garbage(fetched.parent / "whole")


def garbage(corpus: Path) -> list[str]:
    """What `gc` finds, besides what workers told of themselves."""
    found = result("corpus", "gc", corpus, "--dry-run")["removed"]
    return [path for path in found if not path.startswith("jobs/")]


@pytest.mark.slow(15)
def test_what_is_forgotten_beside_workers_does_not_come_back(fetched: Path, tmp_path: Path) -> None:
    """The command waits for no worker to end, and the workers go on after it."""
    corpus, alone = tmp_path / "corpus", tmp_path / "alone"
    for copy in (corpus, alone):
        shutil.copytree(fetched, copy)
    workers = [start(corpus, "--processes", "1") for _ in range(2)]
    wait_until(lambda: len(all_workers(corpus)) == 2, "workers at work")
    forgotten = run("corpus", "forget", corpus, "--url", "http://c5.test/5")
    assert forgotten.returncode == 0, forgotten.stderr
    for worker in workers:
        cli.wait_for(worker)
    assert result("corpus", "verify", corpus)["problems"] == []
    result("corpus", "forget", alone, "--url", "http://c5.test/5")
    cli.wait_for(start(alone, "--processes", "1"))
    assert kept(corpus) == kept(alone) != kept(fetched.parent / "whole")
    held = [name for name, content in files(corpus).items() if b"http://c5.test/5" in content]
    assert held == []


def kept(corpus: Path) -> list[str]:
    """The texts in the shards of the current build."""
    found = list[str]()
    for path in (corpus / "builds").rglob("*.tar"):
        with tarfile.open(path) as tar:
            texts = [tar.extractfile(member) for member in tar if member.name.endswith(".txt")]
            found += [file.read().decode() for file in texts if file]
    return sorted(found)


@pytest.mark.slow(10)
def test_workers_read_the_dumps_of_an_increment(tmp_path: Path) -> None:
    dumps = []
    for month in range(3):
        posts = [
            {"id": f"{month}{n}", "url": f"http://c.test/{n}", "score": 2, "created_utc": n, "subreddit": "x"}
            for n in range(month, 9)
        ]
        dumps.append(tmp_path / f"RS_{month}.json")
        dumps[-1].write_text("\n".join(map(json.dumps, posts)))
    (tmp_path / "recipe.yaml").write_text("name: sum\ncollect: {links: {karma_rule: sum}}\n")
    for name in ("alone", "shared"):
        result("corpus", "init", tmp_path / name, "--recipe", tmp_path / "recipe.yaml")
    result("corpus", "add", tmp_path / "alone", *dumps, "--name", "a", "--until", "links")
    shared = Corpus.open(tmp_path / "shared")
    noted = run("corpus", "add", shared.root, *dumps, "--name", "a", "--until", "dumps")
    assert (noted.returncode, "0001-a is done until dumps" in noted.stdout) == (0, True)
    workers = [start(shared.root, "--stage", "links", "--processes", "1") for _ in range(2)]
    for worker in workers:
        cli.wait_for(worker)
    assert files(shared.root) == files(tmp_path / "alone")


@pytest.mark.slow(5)
def test_a_worker_says_what_is_not_fetched_yet(fetched: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(fetched, corpus)
    shutil.rmtree(corpus / "jobs")
    ended = run("corpus", "work", corpus, "--processes", 1)
    assert ended.returncode == 1
    assert "0002-jan: not fetched to the end" in " ".join(ended.stderr.split())


def test_a_wrong_time_is_refused(tmp_path: Path) -> None:
    ended = run("corpus", "work", tmp_path, "--for", "soon")
    assert (ended.returncode, "--for soon: give a number and a unit" in ended.stderr) == (2, True)
