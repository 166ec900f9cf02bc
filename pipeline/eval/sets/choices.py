"""Readers of multiple-choice sets of common sense and science, in the fields of lm-eval's task files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Row, each_line


def hellaswag(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """HellaSwag's JSON lines; the label is a number, or a text in copies of the set.

    Format: https://github.com/rowanz/hellaswag/tree/master/data.
    """

    def fields(row: Row) -> dict[str, Any]:
        endings = row.texts("endings")
        return {
            **{field: row.text(field) for field in ("activity_label", "ctx_a", "ctx_b")},
            "endings": endings,
            "label": str(_number(row, "label", len(endings))),
        }

    return each_line(paths, root, fields, own=["ind"])


def arc(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """ARC's JSON lines: labels are A to E or 1 to 5, choices 3 to 5.

    Format: https://allenai.org/data/arc (`question: {stem, choices: [{text, label}]}`); copies have the
    choices as `{text: [...], label: [...]}` beside a plain question.
    """

    def fields(row: Row) -> dict[str, Any]:
        nested = isinstance(row.fields.get("question"), dict)
        question = row.row("question").text("stem") if nested else row.text("question")
        return {"question": question, **_choices(row.row("question") if nested else row, row)}

    return each_line(paths, root, fields, own=["id"])


def openbookqa(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """OpenBookQA's JSON lines, which are made as ARC's.

    Format: https://allenai.org/data/open-book-qa (Main/*.jsonl); copies have a field `question_stem`.
    """

    def fields(row: Row) -> dict[str, Any]:
        nested = "question_stem" not in row.fields
        question = row.row("question").text("stem") if nested else row.text("question_stem")
        return {"question_stem": question, **_choices(row.row("question") if nested else row, row)}

    return each_line(paths, root, fields, own=["id"])


def _choices(row: Row, whole: Row) -> dict[str, Any]:
    """The choices in either form, and the label of the right one."""
    if isinstance(row.fields.get("choices"), dict):
        texts, names = row.row("choices").texts("text"), row.row("choices").texts("label")
    else:
        texts = [choice.text("text") for choice in row.rows("choices")]
        names = [choice.text("label") for choice in row.rows("choices")]
    if len(texts) != len(names) or len(texts) < 2:
        raise row.wrong("choices", "two choices or more, each with its label")
    answer = names[
        Row(whole.where, {"answerKey": whole.text("answerKey").strip()}).one_of("answerKey", names)
    ]
    return {"choices": {"text": texts, "label": names}, "answerKey": answer}


def piqa(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """PIQA's JSON lines, with the labels of `X-labels.lst` beside `X.jsonl`, or with a field `label`.

    Format: https://yonatanbisk.com/piqa/data/.
    """

    def fields(row: Row) -> dict[str, Any]:
        return {
            **{field: row.text(field) for field in ("goal", "sol1", "sol2")},
            "label": _number(row, "label", 2),
        }

    return each_line(paths, root, fields, label="label")


def winogrande(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Winogrande's JSON lines, with a field `answer`, or with the answers in `X-labels.lst` beside `X.jsonl`.

    Format: https://winogrande.allenai.org (version 1.1).
    """

    def fields(row: Row) -> dict[str, Any]:
        sentence = row.text("sentence")
        if "_" not in sentence:
            raise row.wrong("sentence", "a sentence with a blank (_)")
        answer = str(row.one_of("answer", ["1", "2"]) + 1)
        return {
            **{field: row.text(field) for field in ("option1", "option2")},
            "sentence": sentence,
            "answer": answer,
        }

    return each_line(paths, root, fields, own=["qID"], label="answer")


def boolq(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """BoolQ's JSON lines, as published by themselves (`answer`, `title`) or in SuperGLUE (`label`, `idx`).

    The title goes before the passage, as in SuperGLUE. Format:
    https://github.com/google-research-datasets/boolean-questions, https://super.gluebenchmark.com/tasks.
    """

    def fields(row: Row) -> dict[str, Any]:
        label = row.label("label" if "label" in row.fields else "answer", [False, True])
        title = f"{row.text('title')} -- " if "title" in row.fields else ""
        passage = row.text("passage")
        return {"question": row.text("question"), "passage": title + passage, "label": label}

    return each_line(paths, root, fields, own=["idx"])


def _number(row: Row, field: str, below: int) -> int:
    """A label from 0, as a number or as its digits."""
    value = row.get(field, object)
    digits = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    labels = [str(label) for label in range(below)]
    if digits not in labels:
        raise row.wrong(field, f"a label from 0 to {below - 1}")
    return labels.index(digits)
