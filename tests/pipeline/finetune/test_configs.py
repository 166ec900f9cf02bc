"""The configurations of the paper's evaluations are whole, and read the released files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.named import ROOT
from pipeline.finetune.examples import Example, read
from pipeline.finetune.papers import published, rows
from pipeline.finetune.settings import RECIPES, Finetune, load_config

CONFIGS = {path.stem: path for path in sorted((ROOT / "finetune").glob("*.yaml")) if path.stem != "books"}
"""All but that of texts without labels (`test_texts`)."""
SNLI = {"annotator_labels": ["neutral"], "captionID": "1.jpg#4", "sentence1_parse": "(ROOT A)"}
NLI = [
    json.dumps(SNLI | {"sentence1": "A", "sentence2": "B", "gold_label": label}) for label in ("neutral", "-")
]
STORY = [f"InputSentence{n}" for n in range(1, 5)] + [f"RandomFifthSentenceQuiz{n}" for n in (1, 2)]
ARTICLE = {"answers": ["B"], "options": [["D", "A", "C", "E"]], "questions": ["B"], "article": "A", "id": "1"}
RELEASED: dict[str, tuple[str, list[str], tuple[str | float, ...]]] = {
    "snli": ("", NLI, ("A", "B", "neutral")),
    "mnli": ("", NLI, ("A", "B", "neutral")),
    "scitail": ("", ["A\tB\tentails", 'A "or"\tB\tneutral'], ("A", "B", "entails")),
    "qnli": ("", ["index\tquestion\tsentence\tlabel", "0\tA\tB\tentailment"], ("A", "B", "entailment")),
    "rte": ("", ["index\tsentence1\tsentence2\tlabel", "0\tA\tB\tentailment"], ("A", "B", "entailment")),
    "storycloze": (
        "",
        [",".join(["InputStoryid", *STORY, "AnswerRightEnding"]), 'x,A,A,"A",A,B,C,2', "y,A,A,A,A,B,C,1"],
        ("A A A A", "B", "C", "1"),
    ),
    "race": ("/high/1.txt", [json.dumps(ARTICLE | {"answers": ["D"]})], ("A B", "D", "A", "C", "E", "3")),
    "cola": ("", ["gj04\t1\t\tA", "cj99\t0\t*\tB"], ("A", "1")),
    "sst2": ("", ["sentence\tlabel", "A \t0"], ("A", "0")),
    "mrpc": ("", ["\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", '1\t7\t8\tA\t"B'], ("A", '"B', "1")),
    "stsb": (
        "",
        [
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
            "0\tmain-captions\tMSRvid\t2012test\t0001\tnone\tnone\tA\tB\t3.800",
        ],
        ("A", "B", 3.8),
    ),
    "qqp": ("", ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "1\t2\t3\tA\tB\t0"], ("A", "B", "0")),
}
"""Where below `train` a released file lies, its beginning, and its first example."""


def settings(name: str) -> Finetune:
    return load_config(CONFIGS[name], []).finetune


@pytest.mark.parametrize("name", CONFIGS)
def test_each_reads_its_released_file(name: str, tmp_path: Path) -> None:
    below, lines, expected = RELEASED[name]
    of: Finetune = settings(name)
    path = tmp_path / f"{of.train}{below}"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    given: dict[str, Any] = {"header": of.header, "graded": of.target != "classes", "leave_out": of.leave_out}
    first: Example = read(tmp_path / of.train, of.kind, of.columns, **given)[0]
    assert (*first.texts, first.label) == expected
    assert of.labels is None or first.label in of.labels


@pytest.mark.parametrize("name", CONFIGS)
def test_each_has_the_paper_s_recipe_and_a_published_number_of_its_first_metric(name: str) -> None:
    of = settings(name)
    assert {key: getattr(of, key) for key in RECIPES["gpt1"]} == RECIPES["gpt1"]
    assert of.task == name
    assert of.select == of.metrics[0] == published(name)[0].measure
    assert "Radford et al. 2018, table" in " ".join(CONFIGS[name].read_text().replace("#", "").split())


def test_the_paper_s_tables_are_there_whole_and_each_number_once() -> None:
    assert len({(row.task, row.variant, row.measure) for row in rows()}) == len(rows())
    tables = {number: [row for row in rows() if row.table == f"table {number}"] for number in range(2, 6)}
    assert {number: len(table) for number, table in tables.items()} == {2: 6, 3: 4, 4: 6, 5: 28}
    tasks = {row.task for number in (2, 3, 4) for row in tables[number]}
    assert tasks == {*CONFIGS, "mnli_mismatched", "race_m", "race_h", "glue"}
    for variant in {row.variant for row in tables[5]} - {"as published"}:
        of = {row.task: row.value for row in tables[5] if row.variant == variant}
        assert sum(of.values()) - of["average"] == pytest.approx(8 * of["average"], abs=0.8), variant
