"""`outbound recipes`: what is shipped, listed and printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.config.named import ROOT, shipped
from support.cli import result
from support.cli import run as outbound


def test_every_shipped_file_is_listed_with_what_it_is() -> None:
    entries = result("recipes")["recipes"]
    files = {path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.yaml")}
    assert {f"{entry['kind']}/{entry['name']}" for entry in entries} == files
    assert [entry["name"] for entry in entries if not 1 < len(entry["about"]) < 90] == []
    text = outbound("recipes").stdout
    assert re.search(r"\ncrawls\n  example +Every setting of a crawl, with its default\n", text)


def test_a_shipped_file_is_printed_as_it_is(tmp_path: Path) -> None:
    for each in shipped():
        assert outbound("recipes", f"{each.kind}/{each.name}").stdout == each.path.read_text()
    assert result("recipes", "webtext")["path"] == str(ROOT / "corpora" / "webtext.yaml")


@pytest.mark.slow(2)
def test_a_run_is_planned_by_its_name_as_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpt2-small").mkdir()
    monkeypatch.chdir(tmp_path)  # where a directory of that name is no configuration
    names = ("gpt2-small", ROOT / "models" / "gpt2-small.yaml")
    planned = [result("plan", each, "model.vocab_size=50257", "--gpu", "a100-80") for each in names]
    assert planned[0] == planned[1]


def test_a_job_is_written_for_a_run_and_a_cluster_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    submit = ("submit", "train", "gpt2-small", "model.vocab_size=50257", "--dry-run", "--cluster")
    named, by_path = (outbound(*submit, each) for each in ("small", ROOT / "clusters" / "small.yaml"))
    assert "#SBATCH --job-name=outbound-train-gpt2-small" in named.stdout
    stamp = re.compile(r"logs/[0-9T-]*-train")
    assert stamp.sub("", named.stdout) == stamp.sub("", by_path.stdout)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (["train", "gpt2smal"], "demo, gpt1, gpt2-large"),
        (["plan", "gpt2smal"], "demo, gpt1, gpt2-large"),
        (["finetune", "gpt2smal"], "books, cola, mnli"),
        (["submit", "train", "gpt2smal", "--cluster", "small"], "demo, gpt1, gpt2-large"),
        (["submit", "finetune", "gpt2smal", "--cluster", "small"], "books, cola, mnli"),
        (["submit", "train", "demo", "--cluster", "gpt2smal"], "example, small"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_names_there_are(words: list[str], known: str) -> None:
    ended = outbound(*words)
    assert (ended.returncode, ended.stderr.count("gpt2smal: no such file")) == (2, 1)
    assert known in ended.stderr


def test_a_name_that_is_none_or_several_is_answered_with_the_way_on() -> None:
    none, several = outbound("recipes", "nonsense"), outbound("recipes", "example")
    assert (none.returncode, several.returncode) == (2, 2)
    assert "`outbound recipes` lists them" in none.stderr
    assert "give clusters/example or crawls/example" in several.stderr
