"""What `outbound eval` does beside evaluating: lists sets, compares, draws; and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support import cli
from support.evaluations import lambada, outcome, write

CLOZE = json.dumps({"text": "The parser reads the file and closes the file"})


def test_an_evaluation_is_found_in_the_directory_that_holds_only_it(tmp_path: Path) -> None:
    for where in ("early/step-00000100-aa/lambada-bb", "late/evaluations/step-00000300-aa/lambada-bb"):
        write(tmp_path / where, [lambada()])
    found = cli.result("eval", "--compare", tmp_path / "early", tmp_path / "late")
    assert {each["task"] for each in found["differences"]} == {"lambada"}
    write(tmp_path / "late/evaluations/step-00000400-aa/lambada-bb", [lambada()])
    ended = cli.run("eval", "--compare", tmp_path / "early", tmp_path / "late")
    assert ended.returncode == 1
    assert (
        "late: holds 2 evaluations; give the directory of one, such as evaluations/step-00000300"
        in ended.stderr
    )
    ended = cli.run("eval", "--compare", tmp_path / "early", tmp_path / "none")
    assert (ended.returncode, "none: holds no results.json" in ended.stderr) == (1, True)


def test_a_family_of_models_is_drawn_to_a_page_and_nothing_is_evaluated(tmp_path: Path) -> None:
    for name, size in {"small": 85_000_000, "large": 300_000_000}.items():
        write(tmp_path / name, [outcome()], run=name, non_embedding=size)
    members = ("--family", tmp_path / "large", "--family", tmp_path / "small")
    page = tmp_path / "pages" / "ours.html"
    assert cli.result("eval", *members, "--out", page) == {"page": str(page), "models": 2}
    assert page.read_text().index("small, step 300") < page.read_text().index("large, step 300")
    ended = cli.run("eval", *members, "--out", tmp_path / "pages")
    assert (ended.returncode, "give the page a name" in ended.stderr) == (2, True)


def test_the_list_ends_with_the_tasks_that_can_be_asked(tmp_path: Path) -> None:
    (tmp_path / "cloze.jsonl").write_text(CLOZE)
    ended = cli.run("eval", "--data", tmp_path, "--tasks", "cloze,hellaswag,cb,shown_news", "--list")
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("  missing for shots")]
    assert [line.split(":")[0] for line in lines] == [
        *("hellaswag", "  missing", "cb", "  missing", "cloze", "  found", "shown_news"),
        "2 of 4 tasks can be asked; they stand last",
    ]
    unproven = [line.split(":")[0] for line in lines if "not tested on a published file" in line]
    assert unproven == ["cb"], "a task without a file has nothing to prove"


@pytest.mark.parametrize("words", [("--protocol", "harness"), ("--shots", "few", "--tasks", "hellaswag")])
def test_nothing_to_ask_is_an_error_that_blames_no_set_that_is_there(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "cloze.jsonl").write_text(CLOZE)
    (tmp_path / "hellaswag_val.jsonl").write_text("")
    ended = cli.run("eval", tmp_path, "--data", tmp_path, "--tasks", "cloze", *words)
    assert ended.returncode == 2
    assert "nothing that was requested can be evaluated" in ended.stderr
    assert "missing:" in ended.stderr


def test_a_run_that_is_not_there_is_refused_before_sets_are_named(tmp_path: Path) -> None:
    (tmp_path / "cloze.jsonl").write_text(CLOZE)
    ended = cli.run("eval", tmp_path / "nowhere", "--data", tmp_path)
    assert ended.returncode == 2
    assert "nowhere: there is no such directory" in ended.stderr
    assert "left out" not in ended.stderr


def test_of_many_tasks_without_files_only_some_are_named(tmp_path: Path) -> None:
    ended = cli.run("eval", tmp_path, "--data", tmp_path)
    (shown,) = [line for line in ended.stderr.splitlines() if line.startswith("left out")]
    assert re.fullmatch(r"left out \(--list shows what they lack\): \w+(, \w+){14} and \d+ more", shown)
