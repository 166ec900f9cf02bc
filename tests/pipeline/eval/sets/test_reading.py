"""CoQA, QuAC, SQuAD 2 and DROP are read as they are published: a question an example, a text a unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets import reading
from support.published_scripts import lm_eval_script


def turns(*texts: str) -> list[dict[str, Any]]:
    return [{"input_text": text, "turn_id": number} for number, text in enumerate(texts, start=1)]


STORY = {
    "source": "mctest",
    "id": "3dr2",
    "story": "Once upon a time there was a white kitten.",
    "questions": turns("What color was it?", "Where?"),
    "answers": turns("white", "a barn"),
    "additional_answers": {"0": turns("white", "barn"), "1": turns("it was white", "in a barn")},
}
SECTION = {
    "title": "William Perry",
    "section_title": "Career",
    "background": "He played.",
    "paragraphs": [
        {
            "context": "He played for the Bears. CANNOTANSWER",
            "id": "C_1",
            "qas": [
                {
                    "id": "C_1_q#0",
                    "question": "what team?",
                    "orig_answer": {"text": "the Bears", "answer_start": 14},
                    "answers": [
                        {"text": "the Bears", "answer_start": 14},
                        {"text": "Bears", "answer_start": 18},
                    ],
                },
                {
                    "id": "C_1_q#1",
                    "question": "when?",
                    "orig_answer": {"text": "CANNOTANSWER", "answer_start": 25},
                    "answers": [{"text": "CANNOTANSWER", "answer_start": 25}],
                },
            ],
        }
    ],
}
ARTICLE = {
    "title": "The_Blitz",
    "paragraphs": [
        {
            "context": "The Luftwaffe flew 4,000 sorties.",
            "qas": [
                {
                    "id": "a",
                    "question": "Who won?",
                    "answers": [],
                    "plausible_answers": [{"text": "The Luftwaffe", "answer_start": 0}],
                    "is_impossible": True,
                },
                {"id": "b", "question": "How many?", "answers": [{"text": "4,000", "answer_start": 19}]},
            ],
        }
    ],
}
NO_DATE = {"day": "", "month": "", "year": ""}
PASSAGES = {
    "nfl_1": {
        "passage": "He kicked 3 and 4 yards in May 1990.",
        "qa_pairs": [
            {
                "query_id": "q1",
                "question": "How many?",
                "answer": {"number": "2", "date": NO_DATE, "spans": []},
                "validated_answers": [{"number": "", "date": NO_DATE, "spans": ["3", "4"]}],
            },
            {
                "query_id": "q2",
                "question": "When?",
                "answer": {"number": "", "date": {"day": "", "month": "May", "year": "1990"}, "spans": []},
            },
        ],
    }
}


def read(tmp_path: Path, name: str, content: object) -> list[Example]:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(content))
    return list(getattr(reading, name)([path], tmp_path))


def test_a_question_of_coqa_has_the_right_answers_before_it_and_those_of_all_people(tmp_path: Path) -> None:
    first, second = read(tmp_path, "coqa", {"version": "1.0", "data": [STORY]})
    assert (first.key, first.unit, first.line, first.row["history"]) == ("3dr2#1", "3dr2", 0, [])
    assert (second.key, second.unit) == ("3dr2#2", "3dr2")
    assert second.row["history"] == [{"question": "What color was it?", "answer": "white"}]
    assert second.row["answers"] == ["a barn", "barn", "in a barn"]


def test_quac_leaves_out_the_mark_that_ends_each_text(tmp_path: Path) -> None:
    first, second = read(tmp_path, "quac", {"data": [SECTION]})
    assert (first.key, first.unit) == ("C_1_q#0", "C_1")
    assert first.row["context"] == "He played for the Bears."
    assert first.row["answers"] == ["the Bears", "Bears"]
    assert (second.row["history"], second.row["answer"]) == (
        [{"question": "what team?", "answer": "the Bears"}],
        "CANNOTANSWER",
    )


def test_a_question_of_squad_without_an_answer_has_none(tmp_path: Path) -> None:
    first, second = read(tmp_path, "squad2", {"version": "v2.0", "data": [ARTICLE]})
    assert (first.key, first.unit, first.row["title"]) == ("a", "The_Blitz", "The Blitz")
    assert first.row["answers"] == {"text": []}
    assert second.row["history"] == [{"question": "Who won?", "answer": ""}]


def test_answers_of_drop_are_numbers_spans_and_dates(tmp_path: Path) -> None:
    first, second = read(tmp_path, "drop", PASSAGES)
    assert (first.key, first.unit) == ("q1", "nfl_1")
    assert first.row["answer"] == {"number": "2", "date": NO_DATE, "spans": []}
    assert first.row["validated_answers"] == {"number": [""], "date": [NO_DATE], "spans": [["3", "4"]]}
    assert second.row["answer"]["date"] == {"day": "", "month": "May", "year": "1990"}
    assert second.row["validated_answers"] == {"number": [], "date": [], "spans": []}


def test_rows_of_drop_are_those_that_lm_eval_s_file_reads(tmp_path: Path) -> None:
    published = lm_eval_script("drop/utils.py")
    first, second = read(tmp_path, "drop", PASSAGES)
    assert published.get_answers(first.row) == [("2",), ("3", "4")]
    assert published.get_answers(second.row) == [("May 1990",)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("coqa", [STORY], r"coqa\.json: is no JSON object"),
        ("coqa", {"data": [{**STORY, "answers": turns("white")}]}, r"data\[0\]: not every question"),
        (
            "coqa",
            {"data": [{**STORY, "questions": turns("What?")[::-1] * 2}]},
            r"questions\[1\]: field 'turn_id' is 1, where 2 is wanted",
        ),
        ("quac", {"data": [{**SECTION, "paragraphs": 1}]}, r"data\[0\]: field 'paragraphs' is 1"),
        ("squad2", {"data": [{**ARTICLE, "title": None}]}, r"data\[0\]: field 'title' is None"),
        (
            "drop",
            {"a": {"passage": "", "qa_pairs": [{"query_id": "q", "question": "", "answer": {"number": ""}}]}},
            r"a: qa_pairs\[0\]: answer: is neither a number, nor spans, nor a date",
        ),
    ],
)
def test_what_is_not_as_published_is_named(tmp_path: Path, name: str, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, name, content)
