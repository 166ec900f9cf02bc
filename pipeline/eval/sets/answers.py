"""Questions with short answers and no text: TriviaQA, NaturalQuestions-open, WebQuestions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Row, each_line, json_lines, name
from pipeline.eval.sets.whole_json import json_object, json_objects

_DESCRIPTION = re.compile(r'\(description (?:"((?:[^"\\]|\\.)*)"|([^"()]+))\)')


def triviaqa(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """TriviaQA (Joshi et al. 2017): JSON as published, or JSON lines with the fields of Hugging Face's copy.

    A question that is in several files, as the verified ones are, is read once.
    Format: https://nlp.cs.washington.edu/triviaqa/ ("Data": "Question", "QuestionId", "Answer": "Value",
    "Aliases", "NormalizedAliases", "HumanAnswers").
    """
    seen = set()
    for path in paths:
        for line, row in _trivia_rows(path):
            if (key := row["question_id"]) not in seen:
                seen.add(key)
                yield Example(file=name(path, root), line=line, key=key, unit=key, row=row)


def natural_questions(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """NaturalQuestions-open (Lee et al. 2019): JSON lines of `question` and `answer`, a list.

    Format: https://github.com/google-research-datasets/natural-questions/tree/master/nq_open
    """
    return each_line(
        paths, root, lambda row: {"question": row.text("question"), "answer": row.texts("answer")}
    )


def webquestions(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """WebQuestions (Berant et al. 2013): a list of `utterance`, `url` and `targetValue`, an s-expression.

    Format: https://nlp.stanford.edu/software/sempre/ ((list (description "Jazmyn Bieber") (description X))).
    """
    for path in paths:
        file = name(path, root)
        for number, row in enumerate(json_objects(path)):
            target = row.text("targetValue")
            answers = [quoted or bare for quoted, bare in _DESCRIPTION.findall(target)]
            if not answers or target.count("(description ") != len(answers):
                raise row.wrong("targetValue", '(list (description "ANSWER") ...)')
            fields = {
                "question": row.text("utterance"),
                "url": row.text("url"),
                "answers": [re.sub(r"\\(.)", r"\1", answer) for answer in answers],
            }
            yield Example(file=file, line=0, key=f"{file}#{number}", unit=f"{file}#{number}", row=fields)


def _trivia_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows in the fields of Hugging Face's copy, each with its line, or 0."""
    if path.name.removesuffix(".gz").endswith(".json"):
        for row in json_object(path).rows("Data"):
            fields = {"id": "QuestionId", "question": "Question", "answer": "Answer"}
            yield 0, _trivia(row, fields, ("Value", "Aliases", "NormalizedAliases", "HumanAnswers"))
    else:
        for line, row in json_lines(path):
            fields = {"id": "question_id", "question": "question", "answer": "answer"}
            yield line, _trivia(row, fields, ("value", "aliases", "normalized_aliases", "human_answers"))


def _trivia(row: Row, fields: dict[str, str], names: tuple[str, str, str, str]) -> dict[str, Any]:
    answer = row.row(fields["answer"])
    value, aliases, normalized, human = names
    if not answer.fields:
        raise DataError(
            f"{row.where}: has no answer; take the file whose answers are published (dev or train)"
        )
    return {
        "question_id": row.text(fields["id"]),
        "question": row.text(fields["question"]),
        "answer": {
            "value": answer.text(value),
            "aliases": answer.texts(aliases),
            "normalized_aliases": answer.texts(normalized),
            "human_answers": answer.texts(human) if answer.fields.get(human) else [],
        },
    }
