"""One's own documents and cloze set, by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import cli
from support.toy_eval import models

pytestmark = pytest.mark.slow(2)

PASSAGE = " ".join(models.WORDS)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A run that nobody has trained, and no sets."""
    models.write_run(tmp_path / "run")
    (tmp_path / "sets").mkdir()
    return tmp_path


def write(home: Path, name: str, *texts: str) -> None:
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (home / "sets" / name).parent.mkdir(parents=True, exist_ok=True)
    (home / "sets" / name).write_text("".join(lines))


def evaluated(home: Path, *more: object) -> dict[str, Any]:
    words = ("--data", home / "sets", "--tasks", "held_out,cloze", "--nproc", 1, *more)
    result: dict[str, Any] = cli.result("eval", home / "run", *words)
    return result


def test_own_documents_and_a_cloze_set_are_scored(home: Path) -> None:
    write(home, "held_out.jsonl", PASSAGE, "cats " * 50)
    write(home, "cloze.jsonl", PASSAGE)
    scores = {(score["task"], score["measure"]): score for score in evaluated(home)["scores"]}
    assert scores["held_out", "bits_per_byte"]["n"] == 2
    assert 0 < scores["held_out", "bits_per_byte"]["value"] < 8
    assert scores["cloze", "acc"]["value"] in (0, 1)


def test_a_task_that_cannot_be_asked_is_named_and_the_others_are_evaluated(home: Path) -> None:
    write(home, "held_out.jsonl", PASSAGE)
    write(home, "cloze.jsonl", f"the links {'cats' * models.N_CTX}")
    result = evaluated(home)
    assert {score["task"] for score in result["scores"]} == {"held_out"}
    assert list(result["unaskable"]) == ["cloze/0/paper"]
    assert "more than the 32 of the model's context" in result["unaskable"]["cloze/0/paper"]


def test_the_overlap_may_list_a_task_that_cannot_be_asked(home: Path) -> None:
    write(home, "held_out.jsonl", PASSAGE)
    write(home, "own/cloze.jsonl", f"the links {'cats' * models.N_CTX}")
    dirty = [{"set": f"{task}.jsonl", "line": 1, "id": f"{task}.jsonl:1"} for task in ("held_out", "cloze")]
    (home / "overlap.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dirty))
    result = evaluated(home, "--overlap", home / "overlap.jsonl")
    assert list(result["unaskable"]) == ["cloze/0/paper"]
    assert {score["dirty"]["n"] for score in result["scores"]} == {1}
