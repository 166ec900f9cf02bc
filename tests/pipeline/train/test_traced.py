"""`outbound trace` names the documents that a step has read, and the submissions that led to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataprep.tokenizer import tokenizer
from pipeline.train.traced import traced_step
from support.cli import result
from support.cli import run as outbound
from support.runs import TinyRun
from support.servers.web import serving
from support.whole_corpus import text

pytestmark = pytest.mark.slow(20)
PAGES = range(12)
TOKENS_READ = 17
"""Of a sample of 16 inputs: the last one has a target, too."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crawled `corpus`, its `tokens`, and a `run` that was continued once. Left as it is."""
    home = tmp_path_factory.mktemp("home")
    posts = [
        {"id": f"p{n}", "url": f"http://c{n}.test/", "score": n + 3, "created_utc": 100, "subreddit": "boats"}
        for n in PAGES
    ]
    (home / "RS_1.json").write_text("\n".join(map(json.dumps, posts)))
    result("corpus", "init", home / "corpus", "--recipe", "demo")
    with serving() as site:
        for n in PAGES:
            page = f"<html><body><article><h1>{n}</h1><p>{text(n)}</p></article></body></html>"
            site.html(f"http://c{n}.test/", page)
        crawl = ("--allow-loopback", f"--connect-to=::127.0.0.1:{site.port}", "--delay", 0, "--workers", 1)
        result("corpus", "add", home / "corpus", home / "RS_1.json", *crawl)
    result("tokenizer", "train", home / "corpus", "-o", home / "bpe", "--vocab-size", 300)
    options = ("--tokenizer", home / "bpe", "-o", home / "tokens", "--held-out", 0.3)
    result("pack", home / "corpus", *options, "--block-tokens", 100, "--shard-blocks", 3)
    run = TinyRun.make(home)
    run.train("train.tokens=800", nproc=2)
    run.train(nproc=2)
    return home


def test_every_step_is_traced_to_the_tokens_that_it_has_read(home: Path) -> None:
    rows = [row for row in TinyRun.make(home).metrics() if "batch" in row]
    read = {row["step"]: traced_step(home / "run", row["step"], show_tokens=TOKENS_READ) for row in rows}
    assert len(read) > 10
    assert all(step.same for step in read.values())
    assert sum(step.samples for step in read.values()) == 100
    encoder = tokenizer.load(home / "tokens" / "tokenizer")
    doc_ids = {piece.doc_id for step in read.values() for piece in step.pieces}
    texts = {each: result("corpus", "trace", home / "corpus", each, "--show")["shown"] for each in doc_ids}
    for step in read.values():
        for sample in range(step.samples):
            pieces = [piece for piece in step.pieces if piece.sample == sample]
            assert sum(piece.tokens for piece in pieces) == TOKENS_READ
            assert all(piece.first == 0 for piece in pieces[1:])
        for piece in step.pieces:
            whole = [*encoder.encode(texts[piece.doc_id]), encoder.eot]
            ids = whole[piece.first : piece.first + piece.tokens]
            assert (piece.text, piece.distinct) == (encoder.decode(ids), len(set(ids)))


def test_a_step_is_traced_to_links_and_submissions(home: Path) -> None:
    found = result("trace", home / "run", "--step", 3, "--corpus", home / "corpus")
    assert (found["same"], found["metrics"]["step"], len(found["documents"]) > 3) == (True, 3, True)
    for piece in found["documents"]:
        number = int(piece["url"].removeprefix("http://c").partition(".")[0])
        (post,) = piece["submissions"]
        assert (post["id"], post["score"], post["subreddit"]) == (f"p{number}", number + 3, "boats")
        assert piece["increment"] == "0001-1"
    shown = outbound("trace", home / "run", "--step", 3, "--corpus", home / "corpus", "--show").stdout
    first: dict[str, Any] = found["documents"][0]
    assert f"sample 0: {first['doc_id']}: {first['tokens']} tokens" in shown
    assert f"submission {first['submissions'][0]['id']} in boats, karma" in shown
    norm = found["metrics"]["grad_norm"]
    assert f"grad_norm {norm:.4g}" in shown
    alone = outbound("trace", home / "run", "--step", 3).stdout
    assert "give --corpus DIR" in alone
    assert "submission p" not in alone


@pytest.mark.parametrize(("step", "part"), [(99, "it has taken steps 1 to "), (0, "Invalid value")])
def test_a_step_that_was_not_taken_is_refused(home: Path, step: int, part: str) -> None:
    ended = outbound("trace", home / "run", "--step", step)
    assert (ended.returncode, part in ended.stderr) == (2, True), ended.stderr
    nowhere = outbound("trace", home / "corpus", "--step", 1)
    assert (nowhere.returncode, "expected the directory of a training run" in nowhere.stderr) == (1, True)


def test_after_a_forget_the_step_no_longer_claims_to_be_what_was_read(home: Path) -> None:
    """Last: it changes the tokens."""
    before = traced_step(home / "run", 2)
    gone = before.pieces[0].doc_id
    url = result("corpus", "trace", home / "corpus", gone)["url"]
    result("corpus", "forget", home / "corpus", "--url", url, "--tokens", home / "tokens")
    after = traced_step(home / "run", 2)
    assert (after.same, after.pieces[0].doc_id, after.pieces[0].distinct) == (False, "", 1)
    shown = outbound("trace", home / "run", "--step", 2).stdout
    assert "the tokens have changed since" in shown
    assert "sample 0: forgotten: " in shown
