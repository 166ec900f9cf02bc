"""The Children's Book Test as published (Hill et al. 2016): `cbtest_CN_valid_2000ex.txt` and its like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import lines, name

BLANK = "XXXXX"
SENTENCES = 20
"""Before the question."""


def questions(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Blocks of 20 numbered sentences and a question with XXXXX, its answer and candidates, parted by TAB.

    Rows: `sentences` (tokens with spaces between them), `question`, `answer`, `candidates`.
    """
    for path in paths:
        sentences: list[str] = []
        number = 0
        for number, line in lines(path):
            if not line.strip():
                continue
            label, _, text = line.partition(" ")
            if label != str(len(sentences) + 1):
                raise DataError(
                    f"{path}:{number}: begins with {label[:20]!r}, where {len(sentences) + 1} is wanted: "
                    "a block is 20 numbered sentences and question 21; fetch it again"
                )
            if len(sentences) < SENTENCES:
                sentences.append(text)
                continue
            row = {"sentences": sentences, **_question(f"{path}:{number}", text)}
            key = f"{name(path, root)}:{number}"
            yield Example(file=name(path, root), line=number, key=key, unit=key, row=row)
            sentences = []
        if sentences:
            raise DataError(f"{path}:{number}: ends within a block; fetch it again")


def _question(where: str, text: str) -> dict[str, str | list[str]]:
    """The question, whose fields are `question TAB answer TAB TAB candidates`."""
    parts = [part.strip() for part in text.split("\t") if part.strip()]
    if len(parts) != 3 or BLANK not in parts[0]:
        raise DataError(
            f"{where}: is no question with {BLANK}, an answer and candidates, parted by TAB; fetch it again"
        )
    question, answer, candidates = parts
    choices = [choice for choice in candidates.split("|") if choice]
    if answer not in choices:
        raise DataError(f"{where}: has the answer {answer!r} not among {candidates!r}; fetch it again")
    return {"question": question, "answer": answer, "candidates": choices}
