"""Readers of SuperGLUE's sets (https://super.gluebenchmark.com/tasks) and of ANLI.

The published rows have labels as words, and texts in nested objects; lm-eval's files have labels as numbers,
in the order of its choices, and flat rows. Copies of the sets in that form are read, too. BoolQ, which was
published before SuperGLUE, is in `choices.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Keys, Row, each_line, json_lines, name


def cb(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """CommitmentBank's JSON lines."""
    return _pairs(paths, root, ["entailment", "contradiction", "neutral"])


def rte(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """The JSON lines of Recognizing Textual Entailment."""
    return _pairs(paths, root, ["entailment", "not_entailment"])


def _pairs(paths: Sequence[Path], root: Path, labels: Sequence[str]) -> Iterator[Example]:
    def fields(row: Row) -> dict[str, Any]:
        return {
            "premise": row.text("premise"),
            "hypothesis": row.text("hypothesis"),
            "label": row.label("label", labels),
        }

    return each_line(paths, root, fields, own=["idx"])


def anli(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """ANLI's JSON lines: labels e, n, c. Format: https://github.com/facebookresearch/anli."""

    def fields(row: Row) -> dict[str, Any]:
        return {
            "premise": row.text("premise" if "premise" in row.fields else "context"),
            "hypothesis": row.text("hypothesis"),
            "label": row.label("label", ["e", "n", "c"]),
        }

    return each_line(paths, root, fields, own=["uid"])


def copa(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """The JSON lines of Choice of Plausible Alternatives."""

    def fields(row: Row) -> dict[str, Any]:
        row.one_of("question", ["cause", "effect"])
        return {
            **{field: row.text(field) for field in ("premise", "choice1", "choice2", "question")},
            "label": row.one_of("label", [0, 1]),
        }

    return each_line(paths, root, fields, own=["idx"])


def wic(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """The JSON lines of Words in Context; a word stands from `start` up to `end`, in characters."""

    def fields(row: Row) -> dict[str, Any]:
        given: dict[str, Any] = {field: row.text(field) for field in ("word", "sentence1", "sentence2")}
        for number in "12":
            start, end = row.get(f"start{number}", int), row.get(f"end{number}", int)
            if not 0 <= start < end <= len(given[f"sentence{number}"]):
                raise row.wrong(f"end{number}", f"an end of a word in sentence{number}")
            given |= {f"start{number}": start, f"end{number}": end}
        return {**given, "label": row.label("label", [False, True])}

    return each_line(paths, root, fields, own=["idx"])


def wsc(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """The JSON lines of SuperGLUE's Winograd schemas; spans are named by their words, counted from 0.

    Some published spans differ from the text in case, in a full stop or in an end of line: they are mended to
    what the text has, as in the copy that lm-eval uses (`wsc.fixed`).
    """

    def fields(row: Row) -> dict[str, Any]:
        text, target = row.text("text"), row.row("target") if "target" in row.fields else row
        given: dict[str, Any] = {"text": text, "label": row.label("label", [False, True])}
        for span in ("span1", "span2"):
            index = target.get(f"{span}_index", int)
            if not 0 <= index < len(text.split()):
                raise target.wrong(f"{span}_index", "the number of a word of the text")
            given[f"{span}_index"] = index
            given[f"{span}_text"] = _as_in_text(text, target.text(f"{span}_text"))
        return given

    return each_line(paths, root, fields, own=["idx"])


def _as_in_text(text: str, span: str) -> str:
    """A span in the case of the text, without what the text does not have.

    >>> _as_in_text("the cat saw it", "The\\ncat.")
    'the cat'
    """
    if span in text:
        return span
    words = span.replace("\n", " ").rstrip(".")
    found = re.search(re.escape(words), text, re.IGNORECASE)
    return found.group() if found else span


def multirc(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """MultiRC: a line is a paragraph with its questions and their answers; an example is one answer.

    `group` is its question, `solved` all answers with their labels, `first` true at one answer of a question.
    """
    for path in paths:
        file = name(path, root)
        units: dict[str, str] = {}
        asked: Counter[str] = Counter()
        for line, paragraph, question, answers in _questions(path):
            unit = units.setdefault(paragraph, f"{file}:{line}")
            asked[unit] += 1
            group = f"{unit}:{asked[unit]}"
            solved = "\n".join(f"- [{bool(label)}] {text}" for text, label in answers)
            for index, (text, label) in enumerate(answers, start=1):
                row = {
                    "paragraph": paragraph,
                    "question": question,
                    "answer": text,
                    "label": label,
                    "group": group,
                    "solved": solved,
                    "first": index == 1,
                }
                yield Example(file=file, line=line, key=f"{group}:{index}", unit=unit, row=row)


def _questions(path: Path) -> Iterator[tuple[int, str, str, list[tuple[str, int]]]]:
    """Line, paragraph, question, and its answers with their labels; a flat row has one answer."""
    flat: list[tuple[int, str, str, list[tuple[str, int]]]] = []
    for line, row in json_lines(path):
        if "paragraph" not in row.fields:
            passage = row.row("passage")
            for question in passage.rows("questions"):
                answers = [
                    (each.text("text"), each.label("label", [False, True]))
                    for each in question.rows("answers")
                ]
                yield line, passage.text("text"), question.text("question"), answers
            continue
        paragraph, asked = row.text("paragraph"), row.text("question")
        if flat and flat[0][1:3] != (paragraph, asked):
            yield flat.pop()
        flat = flat or [(line, paragraph, asked, [])]
        flat[0][3].append((row.text("answer"), row.label("label", [False, True])))
    yield from flat


def record(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """ReCoRD: a line is a passage, its entities by position (the end included), and its queries.

    An example is one query. `completions` are the query with each entity in place of `@placeholder`, `gold`
    the numbers of the right ones.
    """
    keys = Keys()
    for path in paths:
        file = name(path, root)
        units: dict[str, str] = {}
        for line, row in json_lines(path):
            if isinstance(row.fields.get("passage"), dict):
                passage = row.row("passage")
                text = passage.text("text")
                entities = sorted({_span(text, entity) for entity in passage.rows("entities")})
                queries = [
                    (query, query.text("query"), [answer.text("text") for answer in query.rows("answers")])
                    for query in row.rows("qas")
                ]
            else:
                text, entities = row.text("passage"), sorted({*row.texts("entities")})
                queries = [(row, row.text("query"), row.texts("answers"))]
            unit = units.setdefault(text, f"{file}:{line}")
            for place, query, answers in queries:
                right = sorted({*answers})
                gold = [entities.index(answer) for answer in right if answer in entities]
                if not gold or "@placeholder" not in query:
                    raise place.wrong(
                        "query", "a query with @placeholder, and one of the entities as its answer"
                    )
                fields = {
                    "passage": text,
                    "query": query,
                    "entities": entities,
                    "answers": right,
                    "completions": [query.replace("@placeholder", entity) for entity in entities],
                    "gold": gold,
                }
                yield Example(file=file, line=line, key=keys(unit), unit=unit, row=fields)


def _span(text: str, entity: Row) -> str:
    start, end = entity.get("start", int), entity.get("end", int)
    if not 0 <= start <= end < len(text):
        raise entity.wrong("end", "a position in the passage")
    return text[start : end + 1]
