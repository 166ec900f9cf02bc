"""Promise 1: `corpus add`, killed in the middle of every step, ends with the bytes of an undisturbed run."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, NearDuplicates, Recipe, Select
from dataprep.crawl.rounds import outcomes
from support.kills import run_to_the_kill

pytestmark = pytest.mark.slow(25)

REPOSITORY = Path(__file__).parents[3]
WORDS = "harbour winter boat snow lantern street market bread river stone garden letter evening train".split()
PAGE = "<html><head><title>{0}</title></head><body><article><p>{1}</p></article></body></html>"
STEPS = {
    "links": "increments/*/links",
    "fetch": "increments/*/pages",
    "extract": "increments/*/extract",
    "score": "increments/*/score",
    "candidates": "builds/*/*/work/candidates",
    "shard": "builds/*/*/shard",
}
"""Where a step writes: the clock of a kill starts as something new comes there."""
MADE = [
    *(
        f"increments/*/{step}{ending}"
        for step in ("links", "extract", "score")
        for ending in ("", ".step.json")
    ),
    "increments/*/increment.json",
    "index",
    "builds",
]
"""All that the steps make but for the pages, which carry the time of their capture."""
RECIPE = Recipe(
    name="killed",
    collect=Collect(partition_mb=0.01),  # several partitions a step
    select=Select(near_duplicates=NearDuplicates()),
)


@pytest.fixture
def command(site: Any, tmp_path: Path) -> list[str]:
    """`corpus add` of forty pages on four sites, some of them dead, some the same."""
    rng, posts = random.Random(0), []
    for number in range(40):
        text = " ".join(rng.choices(WORDS, k=300)) if number % 10 else "the same page everywhere " * 40
        url = f"http://site-{number % 4}.test/{number}"
        if number % 9:
            site.html(url, PAGE.format(number, text))
        posts.append({"id": str(number), "url": url, "score": 9, "created_utc": number, "subreddit": "x"})
    dump = tmp_path / "dump.json"
    dump.write_text("\n".join(map(json.dumps, posts)))
    crawl = ["--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay=0", "--workers=1"]
    return ["corpus", "add", "DIRECTORY", str(dump), *crawl]


def words_for(command: list[str], root: Path) -> list[str]:
    return [str(root) if word == "DIRECTORY" else word for word in command]


def finish(command: list[str], root: Path) -> None:
    words = [sys.executable, "-m", "pipeline.cli.main", *words_for(command, root)]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def kill_in(step: str, command: list[str], root: Path, then_s: float) -> bool:
    """Run until a step begins to write, and kill some time after that; False if it ended before."""
    return run_to_the_kill("in", f"{root}/{STEPS[step]}", then_s, *words_for(command, root))


def test_killed_in_every_step_it_ends_with_the_same_bytes(command: list[str], tmp_path: Path) -> None:
    killed, again = tmp_path / "killed", tmp_path / "again"
    corpus = Corpus.create(killed, RECIPE)
    rng = random.Random(3)
    kills = [kill_in(step, command, killed, rng.uniform(0, 0.05)) for step in STEPS]
    assert sum(kills) >= len(STEPS) - 1  # the last step may end before it is hit
    finish(command, killed)
    assert outcomes(corpus, corpus.increments()) == {"ok": 35, "not_found": 5}
    assert list(problems(corpus)) == []

    shutil.copytree(killed, again)
    for path in [path for pattern in MADE for path in again.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finish(command, again)
    remade = [path for path in again.rglob("*") if path.is_file()]
    assert len(remade) > 20
    for path in remade:
        assert path.read_bytes() == (killed / path.relative_to(again)).read_bytes(), path


LATER = {
    "select": "corpus select corpus near_duplicates.threshold=0.6 --workers 1",
    "pack": "pack corpus --tokenizer bpe -o tokens --block-tokens 2000 --held-out 0.2 --workers 1",
    "import": "corpus import corpus books.jsonl --kind jsonl --workers 1",
    "forget": "corpus forget corpus --site site-1.test --tokens tokens",
    "gc": "corpus gc corpus --builds current",
    "drop": "corpus drop corpus gone",
}
"""Commands after the first ingest, in an order in which each has something to do."""


def everything(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith(".part")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_every_later_command_killed_between_any_two_names_ends_with_the_same_bytes(
    command: list[str], tmp_path: Path
) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    Corpus.create(calm / "corpus", RECIPE)
    finish(command, calm / "corpus")
    books = [{"url": f"http://books.test/{n}", "text": f"{n} " + " ".join(WORDS) * 9} for n in range(30)]
    (calm / "books.jsonl").write_text("\n".join(map(json.dumps, books)))
    (calm / "late.json").write_text(
        json.dumps({"id": "late", "url": "http://site-0.test/x", "score": 9, "created_utc": 9})
    )
    run_words(calm, "tokenizer train corpus -o bpe --vocab-size 300")
    shutil.copytree(calm, killed)
    rng = random.Random(5)
    for name, words in LATER.items():
        for desk in (calm, killed):
            if name == "gc":
                (next(desk.glob("corpus/increments/*/score")) / "orphan.parquet").write_bytes(b"x")
            if name == "drop":
                run_words(desk, "corpus add corpus late.json --name gone --until links")
        hit = run_words(killed, words, kill_at=rng.randint(1, 6))
        assert hit, name
        for _ in range(2):
            hit = hit and run_words(killed, words, kill_at=rng.randint(2, 12))
        if hit:
            run_words(killed, words)
        run_words(calm, words)
        assert everything(killed) == everything(calm), name
    assert list(problems(Corpus.open(killed / "corpus"))) == []


def run_words(desk: Path, words: str, kill_at: int = 0) -> bool:
    """Run a command; kill it before its change of name number `kill_at`. False: it came to its end."""
    return run_to_the_kill("at", kill_at, *words.split(), cwd=desk)
