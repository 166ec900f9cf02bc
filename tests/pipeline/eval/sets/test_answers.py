"""TriviaQA, NaturalQuestions and WebQuestions are read as they are published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataprep.errors import DataError
from pipeline.eval.sets.answers import natural_questions, triviaqa, webquestions

PUBLISHED = {
    "Data": [
        {
            "Answer": {
                "Aliases": ["Sunset Blvd", "Sunset Boulevard"],
                "HumanAnswers": ["the boulevard"],
                "NormalizedAliases": ["sunset blvd", "sunset boulevard"],
                "NormalizedValue": "sunset boulevard",
                "Type": "WikipediaEntity",
                "Value": "Sunset Boulevard",
            },
            "Question": "Which Lloyd Webber musical premiered in the US on 10th December 1993?",
            "QuestionId": "tc_33",
            "QuestionSource": "http://www.triviacountry.com/",
        }
    ],
    "Domain": "Wikipedia",
    "Version": 1.0,
}
COPIED = {
    "question": "Which musical?",
    "question_id": "tc_1",
    "answer": {"aliases": ["Cats"], "normalized_aliases": ["cats"], "value": "Cats"},
}


def test_trivia_is_read_from_json_and_from_json_lines_each_question_once(tmp_path: Path) -> None:
    published, copied = tmp_path / "wikipedia-dev.json", tmp_path / "val.jsonl"
    published.write_text(json.dumps(PUBLISHED))
    copied.write_text("\n" + json.dumps(COPIED) + "\n")
    first, second = triviaqa([published, copied, published], tmp_path)
    assert (first.key, first.line, first.row["answer"]) == (
        "tc_33",
        0,
        {
            "value": "Sunset Boulevard",
            "aliases": ["Sunset Blvd", "Sunset Boulevard"],
            "normalized_aliases": ["sunset blvd", "sunset boulevard"],
            "human_answers": ["the boulevard"],
        },
    )
    assert (second.file, second.line, second.key) == ("val.jsonl", 2, "tc_1")
    assert second.row["answer"]["human_answers"] == []


def test_a_test_set_without_answers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wikipedia-test-without-answers.json"
    path.write_text(json.dumps({"Data": [{"Question": "Who?", "QuestionId": "1", "Answer": {}}]}))
    with pytest.raises(DataError, match=r"answers\.json: Data\[0\]: has no answer; take the file"):
        list(triviaqa([path], tmp_path))


def test_natural_questions_are_known_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "NQ-open.dev.jsonl"
    path.write_text('{"question": "who", "answer": ["Bob", "Bob Russell"]}\n{"question": "what"}\n')
    rows = natural_questions([path], tmp_path)
    first = next(rows)
    assert (first.key, first.row) == (
        "NQ-open.dev.jsonl:1",
        {"question": "who", "answer": ["Bob", "Bob Russell"]},
    )
    with pytest.raises(DataError, match=r"jsonl:2: has no field 'answer'"):
        next(rows)


def web(target: str) -> dict[str, str]:
    return {"url": "http://www.freebase.com/view/en/x", "targetValue": target, "utterance": "who is x?"}


def test_the_answers_of_web_questions_are_quoted_or_bare(tmp_path: Path) -> None:
    path = tmp_path / "webquestions.examples.test.json"
    path.write_text(
        json.dumps(
            [web(r'(list (description "Dwayne \"Rock\" (J)") (description 1998) (description Abduction))')]
        )
    )
    (only,) = webquestions([path], tmp_path)
    assert only.row["answers"] == ['Dwayne "Rock" (J)', "1998", "Abduction"]


@pytest.mark.parametrize("target", ["(list)", '(list (description "a) (description b))', ""])
def test_answers_that_cannot_be_read_are_refused(tmp_path: Path, target: str) -> None:
    path = tmp_path / "webquestions.examples.test.json"
    path.write_text(json.dumps([web("(list (description x))"), web(target)]))
    with pytest.raises(DataError, match=r"json: list\[1\]: field 'targetValue' is .* is wanted"):
        list(webquestions([path], tmp_path))
