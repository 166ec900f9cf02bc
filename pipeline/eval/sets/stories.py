"""Reader of StoryCloze: four sentences, and two ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Keys, Row, each_line, is_json_lines, name, reading


def storycloze(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """StoryCloze's CSV, of 2016 or 2018, or JSON lines in the fields of lm-eval's file.

    Format: https://cs.rochester.edu/nlp/rocstories/.
    """
    keys = Keys()
    for path in paths:
        if is_json_lines(path):
            yield from each_line([path], root, _as_it_stands)
            continue
        for line, row in _table(path):
            fields: dict[str, Any] = {
                **{f"input_sentence_{n}": row.text(f"InputSentence{n}") for n in range(1, 5)},
                **{f"sentence_quiz{n}": row.text(f"RandomFifthSentenceQuiz{n}") for n in (1, 2)},
                "answer_right_ending": row.one_of("AnswerRightEnding", ["1", "2"]) + 1,
            }
            key = keys(row.text("InputStoryid"))
            yield Example(file=name(path, root), line=line, key=key, unit=key, row=fields)


def _table(path: Path) -> Iterator[tuple[int, Row]]:
    with reading(path) as text:
        lines = csv.DictReader(text, strict=True)
        try:
            for line in lines:
                where = f"{path}:{lines.line_num}"
                if None in line or None in line.values():
                    raise DataError(f"{where}: has other fields than the first line; fetch the file again")
                yield lines.line_num, Row(where, dict(line))
        except csv.Error as error:
            raise DataError(f"{path}:{lines.line_num}: is no CSV ({error}); fetch the file again") from None


def _as_it_stands(row: Row) -> dict[str, Any]:
    texts = [*(f"input_sentence_{n}" for n in range(1, 5)), "sentence_quiz1", "sentence_quiz2"]
    right = row.one_of("answer_right_ending", [1, 2]) + 1
    return {**{field: row.text(field) for field in texts}, "answer_right_ending": right}
