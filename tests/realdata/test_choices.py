"""Published multiple-choice sets, asked of a model that prefers the shorter answer, and counted by hand."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.eval import harness
from pipeline.eval.engines import choices
from pipeline.eval.tasks import shipped
from support.evaluation import of, read
from support.oracles import Oracle

pytestmark = pytest.mark.slow(20)


def science(row: dict[str, Any]) -> tuple[list[str], int]:
    return row["choices"]["text"], row["choices"]["label"].index(row["answerKey"])


def endings(row: dict[str, Any]) -> tuple[list[str], int]:
    plain = [re.sub(r"\[.*?\]", "", ending.strip().replace(" [title]", ". ")) for ending in row["endings"]]
    return [ending.replace("  ", " ") for ending in plain], int(row["label"])


BY_HAND: dict[str, tuple[str, Callable[[dict[str, Any]], tuple[list[str], int]], int]] = {
    "arc_easy": ("arc_easy_val.jsonl", science, 570),
    "arc_challenge": ("arc_challenge_val.jsonl", science, 299),
    "openbookqa": ("openbookqa_val.jsonl", science, 500),
    "hellaswag": ("hellaswag_val.jsonl.gz", endings, 2000),
    "piqa": ("piqa_val.jsonl", lambda row: ([row["sol1"], row["sol2"]], row["label"]), 1838),
    "boolq": ("boolq_val.jsonl.gz", lambda row: (["no", "yes"], int(row["answer"])), 1000),
    "winogrande": ("winogrande_val.jsonl", lambda row: (["", ""], int(row["answer"]) - 1), 1267),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_shorter_answer_is_right_as_often_as_counted_by_hand(name: str, data: Path) -> None:
    file, by_hand, rows = BY_HAND[name]
    task, path = shipped()[name], data / "evals" / file
    assert any(path.match(each) or path.match(f"{each}.gz") for each in task.files["test"][0].split("|"))
    found = read(task, path.parent, [path])
    right = []
    with (gzip.open if file.endswith(".gz") else open)(path, "rt") as lines:
        for line in lines:
            texts, gold = by_hand(json.loads(line))
            right.append(min(range(len(texts)), key=lambda n: len(texts[n])) == gold)
    assert len(right) == len(found) == rows
    shorter = Oracle(lambda _, continuation: -float(len(continuation)), n_ctx=10**6)
    documents = harness.evaluate(of(task, "lm-eval", found), shorter)
    assert [document.values["acc"][0] for document in documents] == right
    ask = of(task, "paper", found, found[:20], shots=3)
    shown = choices.evaluate(ask, shorter)
    assert {document.shown for document in shown} == {3}
