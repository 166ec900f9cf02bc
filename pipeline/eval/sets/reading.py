"""Questions about a text: CoQA, QuAC, SQuAD 2 and DROP. Each question is an example, each text a unit.

Where the questions of a text follow each other, a row has those before it, with the right answers: `history`,
a list of {question, answer}.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Keys, Row, name
from pipeline.eval.sets.whole_json import json_object
from pipeline.eval.text_metrics import CANNOT_ANSWER


def coqa(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """CoQA (Reddy et al. 2019): stories with a conversation. answers: of all people, the set's own first.

    Format: https://stanfordnlp.github.io/coqa/ ("data": "story", "questions", "answers",
    "additional_answers").
    """
    keys = Keys()
    for path in paths:
        for story in json_object(path).rows("data"):
            questions, answers = _by_turn(story, "questions"), _by_turn(story, "answers")
            others: list[list[str]] = []
            if story.fields.get("additional_answers"):
                additional = story.row("additional_answers")
                others = [_by_turn(additional, person) for person in additional.fields]
            if any(len(each) != len(questions) for each in (answers, *others)):
                raise DataError(f"{story.where}: not every question has an answer of each person")
            history: list[dict[str, str]] = []
            for n, (question, answer) in enumerate(zip(questions, answers, strict=True)):
                row = {
                    "story": story.text("story"),
                    "history": history[:],
                    "question": question,
                    "answers": [answer, *(other[n] for other in others)],
                }
                key = keys(f"{story.text('id')}#{n + 1}")
                yield Example(file=name(path, root), line=0, key=key, unit=story.text("id"), row=row)
                history.append({"question": question, "answer": answer})


def quac(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """QuAC (Choi et al. 2018): sections of Wikipedia with a conversation; the context ends in "CANNOTANSWER",
    which is left out.

    Format: https://quac.ai ("data": "title", "section_title", "paragraphs": "context", "qas").
    """
    keys = Keys()
    for path in paths:
        for section in json_object(path).rows("data"):
            for paragraph in section.rows("paragraphs"):
                common = {
                    "title": section.text("title"),
                    "section": section.text("section_title"),
                    "context": paragraph.text("context").removesuffix(CANNOT_ANSWER).rstrip(),
                }
                history: list[dict[str, str]] = []
                for qa in paragraph.rows("qas"):
                    given = qa.row("orig_answer").text("text")
                    row = common | {
                        "history": history[:],
                        "question": qa.text("question"),
                        "answer": given,
                        "answers": [answer.text("text") for answer in qa.rows("answers")],
                    }
                    key, unit = keys(qa.text("id")), paragraph.text("id")
                    yield Example(file=name(path, root), line=0, key=key, unit=unit, row=row)
                    history.append({"question": qa.text("question"), "answer": given})


def squad2(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """SQuAD 2 (Rajpurkar et al. 2018): paragraphs of Wikipedia; answers: {text: []} where there is none.

    history: the questions of the same paragraph before it; their answer is "" where there is none.
    Format: https://rajpurkar.github.io/SQuAD-explorer/ ("data": "title", "paragraphs": "context", "qas").
    """
    keys = Keys()
    for path in paths:
        for article in json_object(path).rows("data"):
            title = article.text("title").replace("_", " ")
            for paragraph in article.rows("paragraphs"):
                history: list[dict[str, str]] = []
                for qa in paragraph.rows("qas"):
                    answers = [answer.text("text") for answer in qa.rows("answers")]
                    row = {
                        "id": qa.text("id"),
                        "title": title,
                        "context": paragraph.text("context"),
                        "history": history[:],
                        "question": qa.text("question"),
                        "answers": {"text": answers},
                    }
                    key, unit = keys(qa.text("id")), article.text("title")
                    yield Example(file=name(path, root), line=0, key=key, unit=unit, row=row)
                    history.append({"question": qa.text("question"), "answer": (answers or [""])[0]})


def drop(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """DROP (Dua et al. 2019): passages; an answer is a number, spans or a date.

    Rows have the fields of lm-eval's file: validated_answers has a list a field.
    Format: https://allenai.org/data/drop ({passage_id: {"passage", "qa_pairs": ["question", "answer",
    "validated_answers", "query_id"]}}).
    """
    keys = Keys()
    for path in paths:
        whole = json_object(path)
        for unit in whole.fields:
            passage = whole.row(unit)
            for qa in passage.rows("qa_pairs"):
                others = qa.rows("validated_answers") if qa.fields.get("validated_answers") else []
                validated = [_drop_answer(each) for each in others]
                row = {
                    "query_id": qa.text("query_id"),
                    "passage": passage.text("passage"),
                    "question": qa.text("question"),
                    "answer": _drop_answer(qa.row("answer")),
                    "validated_answers": {
                        field: [answer[field] for answer in validated]
                        for field in ("number", "date", "spans")
                    },
                }
                yield Example(
                    file=name(path, root), line=0, key=keys(qa.text("query_id")), unit=unit, row=row
                )


def _by_turn(row: Row, field: str) -> list[str]:
    """The texts of a conversation, whose turns are numbered from 1."""
    texts = []
    for number, turn in enumerate(row.rows(field), start=1):
        if turn.get("turn_id", int) != number:
            raise turn.wrong("turn_id", str(number))
        texts.append(turn.text("input_text"))
    return texts


def _drop_answer(answer: Row) -> dict[str, Any]:
    date = answer.row("date").fields if answer.fields.get("date") else {}
    found: dict[str, Any] = {
        "number": str(answer.fields.get("number", "")),
        "date": {part: str(date.get(part, "")) for part in ("day", "month", "year")},
        "spans": answer.texts("spans") if answer.fields.get("spans") else [],
    }
    if not (found["number"] or found["spans"] or any(found["date"].values())):
        raise DataError(f"{answer.where}: is neither a number, nor spans, nor a date")
    return found
