"""What `outbound eval` does beside evaluating: lists sets; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import cli

CLOZE = json.dumps({"text": "The parser reads the file and closes the file"})


def test_the_list_ends_with_the_tasks_that_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "cloze.jsonl").write_text(CLOZE)
    ended = cli.run("eval", "--data", tmp_path, "--tasks", "cloze,hellaswag,shown_news", "--list")
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("  missing for shots")]
    assert [line.split(":")[0] for line in lines] == [
        *("hellaswag", "  missing", "cloze", "  found", "shown_news"),
        "2 of 3 tasks can be asked; they stand last",
    ]
    assert "never read a published file" not in ended.stdout, "a task without a file has nothing to prove"


@pytest.mark.parametrize("words", [("--protocol", "harness"), ("--shots", "few", "--tasks", "hellaswag")])
def test_nothing_to_ask_is_an_error_that_blames_no_set_that_is_there(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "cloze.jsonl").write_text(CLOZE)
    (tmp_path / "hellaswag_val.jsonl").write_text("")
    ended = cli.run("eval", tmp_path, "--data", tmp_path, "--tasks", "cloze", *words)
    assert ended.returncode == 2
    assert "has not what these words ask for" in ended.stderr
    assert "missing:" in ended.stderr


def test_a_run_that_is_not_there_is_refused_before_sets_are_named(tmp_path: Path) -> None:
    (tmp_path / "cloze.jsonl").write_text(CLOZE)
    ended = cli.run("eval", tmp_path / "nowhere", "--data", tmp_path)
    assert ended.returncode == 2
    assert "nowhere: there is no such directory" in ended.stderr
    assert "left out" not in ended.stderr
