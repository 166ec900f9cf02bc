"""Reader of RACE: articles, each with questions of four answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Row, is_json_lines, json_lines, name
from pipeline.eval.sets.whole_json import json_object

LETTERS = ["A", "B", "C", "D"]


def race(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """RACE: a text file of JSON an article, with its questions; copies are JSON lines, a question each.

    An example is one question after those before it, solved; `last` is true for the last one, which lm-eval
    asks. `problems` is a list as Python writes it: lm-eval's file wants that. Format:
    https://www.cs.cmu.edu/~glai1/data/race/.
    """
    for path in paths:
        file = name(path, root)
        for line, article, problems in _articles(path):
            unit = f"{file}:{line}" if line else file
            for n, problem in enumerate(problems):
                row = {
                    "article": article,
                    "problems": repr(problems[: n + 1]),
                    "earlier": "".join(
                        f"Q: {each['question']}\n\nA: {each['options'][LETTERS.index(each['answer'])]}\n\n"
                        for each in problems[:n]
                    ),
                    "question": problem["question"],
                    "options": problem["options"],
                    "label": LETTERS.index(problem["answer"]),
                    "last": n == len(problems) - 1,
                }
                yield Example(file=file, line=line, key=f"{unit}:{n + 1}", unit=unit, row=row)


def _articles(path: Path) -> Iterator[tuple[int, str, list[dict[str, Any]]]]:
    """Line (0: the whole file), article, and its questions with options and the letter of the answer."""
    if not is_json_lines(path):
        whole = json_object(path)
        lists = whole.texts("questions"), whole.texts("answers"), whole.get("options", list)
        if not len(lists[0]) == len(lists[1]) == len(lists[2]):
            raise whole.wrong("options", f"a list of {len(lists[0])} lists, one a question,")
        problems = [
            _problem(
                Row(f"{path}: question {n}", {"question": question, "answer": answer, "options": options})
            )
            for n, (question, answer, options) in enumerate(zip(*lists, strict=True), start=1)
        ]
        yield 0, whole.text("article"), problems
        return
    for article, rows in groupby(json_lines(path), key=lambda each: each[1].text("article")):
        of_article = list(rows)
        yield of_article[0][0], article, [_problem(row) for _, row in of_article]


def _problem(row: Row) -> dict[str, Any]:
    if len(row.texts("options")) != len(LETTERS):
        raise row.wrong("options", "a list of four texts")
    row.one_of("answer", LETTERS)
    return {"question": row.text("question"), **{name: row.fields[name] for name in ("answer", "options")}}
