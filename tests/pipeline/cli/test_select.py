"""Selecting from outside: quality models, other builds and what differs, as a user runs them."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dataprep.corpus.directory import Corpus
from pipeline.cli import main
from support.cli import run as outbound
from support.ready_corpus import add_pages, make_corpus


def test_two_builds_are_told_apart(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path)
    add_pages(
        corpus, "one", [(1, "short", "four words of text"), (2, "long", "this one has some more of them")]
    )
    first = json.loads(outbound("corpus", "select", tmp_path, "--json").stdout)["build"]
    outbound("corpus", "select", tmp_path, "min_words=5")
    told = json.loads(outbound("corpus", "diff", tmp_path, first[:5], "current", "--json").stdout)
    assert (told["same"], [(each["from"], each["to"]) for each in told["changes"]]) == (
        1,
        [("kept", "min_words")],
    )
    assert [[stage["passed"] for stage in funnel] for funnel in told["funnels"]] == [[2, 2], [1, 1]]
    shown = outbound("corpus", "diff", tmp_path).stdout
    assert "kept -> min_words" in shown
    assert "- -> 4  short" in shown
    assert re.search(r"select min_words +0 +1\n", shown)
    assert "no build begins so" in outbound("corpus", "diff", tmp_path, "x", "current").stderr


def test_score_says_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    add_pages(make_corpus(tmp_path), "one", [(1, "a", "some text")])
    assert outbound("corpus", "score", tmp_path).stdout == "all scores are of this version\n"


@pytest.mark.slow(1)
def test_a_model_is_trained_and_goes_into_a_corpus(tmp_path: Path) -> None:
    for side in ("tale", "spam"):
        texts = [" ".join(f"{side}{n * m % 97}" for m in range(1, 30)) for n in range(1, 300)]
        (tmp_path / f"{side}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    sides = ["--good", tmp_path / "tale.jsonl", "--bad", tmp_path / "spam.jsonl"]
    model = tmp_path / "quality.model"
    told = json.loads(outbound("corpus", "train-quality", *sides, "-o", model, "--json").stdout)
    assert (told["accuracy"], told["auc"]) == (1, 1)

    refused = outbound("corpus", "init", tmp_path / "mine", "--recipe", "gpt3-cc")
    assert (refused.returncode, "give it with --quality MODEL" in refused.stderr) == (2, True)
    made = outbound("corpus", "init", tmp_path / "mine", "--recipe", "gpt3-cc", "--quality", model)
    assert made.returncode == 0, made.stderr
    model.unlink()
    corpus = Corpus.open(tmp_path / "mine")
    assert corpus.recipe.collect.quality == f"quality-{told['xxh3_128'][:12]}.safetensors"
    tale, spam = (" ".join(f"{side}{n}" for n in range(60)) for side in ("tale", "spam"))
    add_pages(corpus, "one", [(1, "good", tale), (2, "bad", spam)])
    outbound("corpus", "select", corpus.root)
    funnel = json.loads(outbound("corpus", "status", corpus.root, "--json").stdout)["funnel"]
    assert [stage["reasons"] for stage in funnel if stage["stage"] == "select"] == [{"quality.alpha": 1}]
    assert outbound("corpus", "verify", corpus.root).returncode == 0
    (corpus.root / str(corpus.recipe.collect.quality)).write_bytes(b"damaged")
    verify = [sys.executable, "-m", "pipeline.cli.main", "corpus", "verify", str(corpus.root)]
    found = subprocess.run(verify, capture_output=True, text=True, check=False)  # this process has read it
    assert "is no quality model" in found.stdout


def test_a_mistake_in_the_command_is_wrong_usage_and_begins_nothing(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    add_pages(corpus, "one", [(1, "a", "some text")])
    for mistake in ("min_words", "min_words=many", "gopher.max_nonsense=3"):
        assert outbound("corpus", "select", corpus.root, mistake).returncode == 2
    assert not (corpus.root / "builds").exists()
    assert outbound("corpus", "select", corpus.root).returncode == 0
    (tmp_path / "file").touch()
    for wrong in (["-o", tmp_path / "file"], ["-o", tmp_path / "out", "--format", "csv"]):
        assert outbound("corpus", "export", corpus.root, *wrong).returncode == 2


def test_a_warc_file_is_no_text_to_learn_from(tmp_path: Path) -> None:
    (tmp_path / "pages.warc.gz").write_bytes(gzip.compress(b"WARC/1.0\r\nWARC-Type: warcinfo\r\n\r\n"))
    told = outbound(
        "corpus", "train-quality", "--good", tmp_path / "pages.warc.gz", "--bad", tmp_path, "-o", "m"
    )
    assert (told.returncode, "is a WARC file" in told.stderr) == (1, True)


def test_ctrl_c_says_that_the_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise SystemExit(130)

    monkeypatch.setattr(main, "app", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main.main()
    assert "the same command goes on" in capsys.readouterr().err
