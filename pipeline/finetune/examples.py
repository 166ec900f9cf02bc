"""Labelled examples out of files: texts by their place in a kind's input, and what is to be predicted.

    classification    text                  a folder with a folder or a file for each label needs no columns
    entailment        premise, hypothesis
    similarity        first, second
    multiple_choice   context, answers      several columns each, or in JSON a list of answers

All have the column `label`. In JSON a label may be a list: RACE has an article a row, with lists of
questions, answers and labels. Such a row is one example for each label; of other lists each takes its member.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.finetune.tables import Column, decoded, rows, unpacked

TEXTS = {
    "classification": ("text",),
    "entailment": ("premise", "hypothesis"),
    "similarity": ("first", "second"),
    "multiple_choice": ("context", "answers"),
}
"""The columns of each kind's texts, in the order of its input."""
LABEL = "label"
MOST_MISTAKES = 5
"""So many mistakes of a set are reported at once."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled example.

    texts: as TEXTS has them; of multiple_choice the context and each answer. label: a class, a grade, or the
    index of the right answer. file, row: where it stands, the row being the line on which it begins, from 1.
    """

    texts: tuple[str, ...]
    label: str | float
    file: Path
    row: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.row}"


class _Mistake(Exception):
    """What is wrong with a row."""


def read(
    path: Path,
    kind: str,
    columns: Mapping[str, Column | Sequence[Column]],
    header: bool | None = None,
    graded: bool = False,
    leave_out: Collection[str] = (),
) -> list[Example]:
    """The examples of a file, or of all files below a folder in the order of their names.

    columns: column or columns of each name in TEXTS and of `label`. header: see `tables.rows`. graded:
    whether labels are numbers. leave_out: labels whose rows are no examples. White space around texts is
    left out. Raises DataError that names the files
    and rows of up to MOST_MISTAKES mistakes.
    """
    if kind == "classification" and not columns:
        return _whole(path, _by_label(path))
    wanted = [(name, column) for name in (*TEXTS[kind], LABEL) for column in several(columns[name])]
    found = _whole(
        path, [each for each in _parsed(path, kind, wanted, header, graded) if each.label not in leave_out]
    )
    return _counted_from_0(found) if kind == "multiple_choice" else found


def _parsed(
    path: Path, kind: str, wanted: Sequence[tuple[str, Column]], header: bool | None, graded: bool
) -> list[Example]:
    examples: list[Example] = []
    mistakes: list[str] = []
    for file in _files(path):
        for row, cells in rows(file, [column for _, column in wanted], header):
            try:
                for each in _dealt_out(cells):
                    texts, label = _texts(kind, wanted, each), _label(wanted[-1], each[-1], graded)
                    if examples and len(texts) != len(examples[0].texts):
                        first = f"{len(examples[0].texts) - 1} as in {examples[0].where}"
                        raise _Mistake(f"has {len(texts) - 1} answers, not {first}; give all the same number")
                    examples.append(Example(texts, label, file, row))
            except _Mistake as mistake:
                mistakes.append(f"{file}:{row}: {mistake}")
                if len(mistakes) == MOST_MISTAKES:
                    raise _refusal(path, mistakes) from None
    if mistakes:
        raise _refusal(path, mistakes)
    return examples


def _texts(kind: str, wanted: Sequence[tuple[str, Column]], cells: Sequence[Any]) -> tuple[str, ...]:
    """The texts of a row in the order of the kind's input."""
    if kind != "multiple_choice":
        return tuple(_text(place, cell) for place, cell in zip(wanted[:-1], cells, strict=False))
    context: list[str] = []
    answers: list[str] = []
    for place, cell in zip(wanted[:-1], cells, strict=False):
        of = context if place[0] == "context" else answers
        of += [_text(place, each) for each in (cell if isinstance(cell, list) and of is answers else [cell])]
    if len(answers) < 2:
        raise _Mistake(f"has {len(answers)} answers; at least two are needed to choose from")
    return (" ".join(context), *answers)


def _text(place: tuple[str, Column], cell: Any) -> str:
    name, column = place
    if cell is None:
        raise _Mistake(f"has no column {column!r} ({name}); correct the row, or `columns`")
    if not isinstance(cell, str):
        raise _Mistake(f"column {column!r} ({name}) is {_shown(cell)}, not a text; correct it, or `columns`")
    if not (text := cell.strip()):
        raise _Mistake(f"column {column!r} ({name}) is empty; fill it, or remove the row")
    return text


def _label(place: tuple[str, Column], cell: Any, graded: bool) -> str | float:
    label = _text(place, str(cell).lower() if isinstance(cell, bool) else _as_text(cell))
    if not graded:
        return label
    try:
        grade = float(label)
    except ValueError:
        grade = math.nan
    if not math.isfinite(grade):
        hint = "correct it, or set `header: true` if the row holds names"
        raise _Mistake(f"column {place[1]!r} (label) is {_shown(label)}, not a number; {hint}")
    return grade


def _as_text(cell: Any) -> Any:
    return str(cell) if isinstance(cell, int | float) else cell


def _dealt_out(cells: list[Any]) -> Iterator[list[Any]]:
    """The cells of each example of a row: one, or as many as the label has members."""
    if not isinstance(cells[-1], list):
        yield cells
        return
    count = len(cells[-1])
    for cell in cells:
        if isinstance(cell, list) and len(cell) != count:
            raise _Mistake(f"has {count} labels, and a list of {len(cell)} beside them; correct the row")
    for index in range(count):
        yield [cell[index] if isinstance(cell, list) else cell for cell in cells]


def _counted_from_0(examples: list[Example]) -> list[Example]:
    """Examples of several answers, labelled with the index of the right one.

    Released sets have letters from A, or numbers from 1, or from 0. A label of 0 shows the last, and one
    that is the number of answers the other. Raises DataError where neither is there, or a label is no answer.
    """
    count = len(examples[0].texts) - 1
    letters = [chr(ord("A") + index) for index in range(count)]
    labels = {str(example.label) for example in examples}
    orders = [letters, [str(index) for index in range(1, count + 1)], [str(index) for index in range(count)]]
    fitting = [order for order in orders if labels <= {*order}]
    if not fitting:
        wrong = [each for each in examples if str(each.label) not in {*letters, *orders[1], *orders[2]}]
        shown = wrong or examples
        few = [f"{each.where}: label {_shown(each.label)}" for each in shown[:MOST_MISTAKES]]
        raise DataError(
            f"{few[0]} is not one of {count} answers, counted the same way in all rows; write A to "
            f"{letters[-1]}, or 0 to {count - 1}"
        )
    if len(fitting) > 1:
        raise DataError(
            f"{examples[0].file}: its labels {', '.join(sorted(labels))} may count the answers from 0 or "
            f"from 1; write A to {letters[-1]}"
        )
    return [replace(example, label=str(fitting[0].index(str(example.label)))) for example in examples]


def _by_label(path: Path) -> list[Example]:
    """Examples of a folder: of its folders, whose files are texts, or its files, whose lines are texts.

    The label is the name of the folder, or of the file without `.txt`.
    """
    if not path.is_dir():
        raise DataError(f"{path}: is no folder of labels; name its `columns`, such as {{text: 0, label: 1}}")
    inside = _visible(path.iterdir())
    folders = [each for each in inside if each.is_dir()]
    if folders and len(folders) < len(inside):
        beside = next(each for each in inside if not each.is_dir())
        raise DataError(f"{path}: holds folders, each a label, and {beside.name} beside them; move it away")
    examples = []
    mistakes = []
    for folder in folders:
        for file in _files(folder):
            if text := decoded(file).strip():
                examples.append(Example((text,), folder.name, file, 1))
            else:
                mistakes.append(f"{file}:1: has no text; remove the file")
    for file in inside if not folders else ():
        label = unpacked(file).name.removesuffix(".txt")
        lines = enumerate(decoded(file).split("\n"), start=1)
        examples += [Example((line.strip(),), label, file, row) for row, line in lines if line.strip()]
    if mistakes:
        raise _refusal(path, mistakes[:MOST_MISTAKES])
    return examples


def _files(path: Path) -> list[Path]:
    """The file itself, or the files below a folder by name."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; correct the path")
    return _visible(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _visible(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if not path.name.startswith("."))


def _whole(path: Path, examples: list[Example]) -> list[Example]:
    if not examples:
        raise DataError(f"{path}: holds no examples; give a file with rows")
    return examples


def _refusal(path: Path, mistakes: Sequence[str]) -> DataError:
    if len(mistakes) == 1:
        return DataError(mistakes[0])
    several = f"{len(mistakes)} mistakes" if len(mistakes) < MOST_MISTAKES else "the first mistakes"
    return DataError("\n".join([f"{path}: {several}", *(f"  {mistake}" for mistake in mistakes)]))


def several(columns: Column | Sequence[Column]) -> Sequence[Column]:
    """The columns of a name in the settings, which is given one or a list."""
    return [columns] if isinstance(columns, int | str) else columns


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
