"""Lines of a file and fields of a row, for all readers. An error names the place: file, line and field."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from dataprep.errors import DataError
from pipeline.eval.documents import Example

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A JSON object or a line of a table, and where it stands: FILE:LINE."""

    where: str
    fields: dict[str, Any]

    def get(self, name: str, kind: type[T]) -> T:
        """A field of one type. Raises DataError that names file, line and field."""
        if name not in self.fields:
            raise DataError(
                f"{self.where}: has no field {name!r}; its fields are {', '.join(self.fields) or 'none'}"
            )
        value = self.fields[name]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, kind.__name__)
        return value

    def text(self, name: str) -> str:
        return self.get(name, str)

    def texts(self, name: str) -> list[str]:
        """A list of texts that is not empty."""
        values = self.get(name, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "a list of texts")
        return values

    def row(self, name: str) -> Row:
        """A JSON object within."""
        return Row(f"{self.where}: {name}", self.get(name, dict))

    def rows(self, name: str) -> list[Row]:
        """A list of JSON objects within."""
        values = self.get(name, list)
        if not all(isinstance(value, dict) for value in values):
            raise self.wrong(name, "a list of objects")
        return [Row(f"{self.where}: {name}[{number}]", value) for number, value in enumerate(values)]

    def one_of(self, name: str, allowed: Sequence[T]) -> int:
        """The index of a field's value among those that it may have."""
        value = self.get(name, object)
        for index, each in enumerate(allowed):
            if each == value and type(each) is type(value):
                return index
        raise self.wrong(name, f"one of {', '.join(map(repr, allowed))}")

    def label(self, name: str, words: Sequence[str | bool]) -> int:
        """The number of a label, which the field has as its word, or as its number in copies of a set.

        >>> [Row("x:1", {"label": label}).label("label", ["no", "yes"]) for label in ("no", 1)]
        [0, 1]
        """
        value = self.get(name, object)
        if type(value) is int and 0 <= value < len(words):
            return value
        return self.one_of(name, words)

    def wrong(self, name: str, wanted: str) -> DataError:
        shown, wanted = (
            text if len(text) <= most else text[:most] + "..."
            for text, most in ((repr(self.fields.get(name)), 60), (wanted, 200))
        )
        return DataError(f"{self.where}: field {name!r} is {shown}, where {wanted} is wanted")


class Keys:
    """Makes the keys of a task's examples unique: a repeated key gets a number.

    >>> keys = Keys(); keys("7"), keys("8"), keys("7"), keys("7#2")
    ('7', '8', '7#2', '7#2#2')
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, key: str) -> str:
        while times := self._seen.get(key, 0):
            self._seen[key] = times + 1
            key = f"{key}#{times + 1}"
        self._seen[key] = 1
        return key


def is_json_lines(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(".jsonl")


def name(path: Path, root: Path) -> str:
    """A file's path in the directory of sets."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@contextmanager
def reading(path: Path) -> Iterator[TextIO]:
    """Open a text file: plain or gzip, UTF-8 with or without a byte-order mark, with any kind of line end.

    Raises DataError where it cannot be read to its end.
    """
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: is damaged or cut ({error}); fetch it again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 ({error}); fetch it again") from None


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file without their ends, numbered from 1. Raises DataError as `reading`."""
    with reading(path) as file:
        for number, line in enumerate(file, start=1):
            yield number, line.removesuffix("\n")


def parsed(text: str, where: str) -> Any:
    """A JSON value. Raises DataError where there is none, or half a character (`\\ud800`) within, which no
    tokenizer takes."""
    try:
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is no JSON ({error}); fetch the file again") from None
    return value


def json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """The objects of a file of JSON lines, with their lines from 1; empty lines are none."""
    for number, line in lines(path):
        if not line.strip():
            continue
        value = parsed(line, f"{path}:{number}")
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: is no JSON object; each line of this set is one")
        yield number, Row(f"{path}:{number}", value)


def each_line(
    paths: Sequence[Path],
    root: Path,
    fields: Callable[[Row], dict[str, Any]],
    *,
    own: Sequence[str] = (),
    label: str | None = None,
) -> Iterator[Example]:
    """Examples of files of JSON lines, one a line.

    fields: a line's object -> the fields of lm-eval's file. own: fields that may hold the set's own id.
    label: a field that may stand in `X-labels.lst` beside `X.jsonl` instead, a line each.
    """
    keys = Keys()
    for path in paths:
        file = name(path, root)
        for number, row in json_lines(path) if label is None else _labelled(path, label):
            given = next((row.fields[each] for each in own if each in row.fields), None)
            key = keys(str(given) if isinstance(given, str | int) else f"{file}:{number}")
            yield Example(file=file, line=number, key=key, unit=key, row=fields(row))


def labels_of(path: Path) -> Path:
    """The file of labels that may stand beside a file of JSON lines: X-labels.lst beside X.jsonl."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".jsonl") + "-labels.lst")


def _labelled(path: Path, label: str) -> Iterator[tuple[int, Row]]:
    rows = list(json_lines(path))
    if all(label in row.fields for _, row in rows):
        return iter(rows)
    beside = labels_of(path)
    if not beside.is_file():
        raise DataError(
            f"{rows[0][1].where}: has no field {label!r}, and there is no {beside.name} beside the file"
        )
    given = [(f"{beside}:{number}", line.strip()) for number, line in lines(beside) if line.strip()]
    if len(given) != len(rows):
        raise DataError(
            f"{beside}: has {len(given)} labels, but {path} has {len(rows)} questions; fetch both again"
        )
    return iter(
        (number, Row(where, {**row.fields, label: value}))
        for (number, row), (where, value) in zip(rows, given, strict=True)
    )


def own_fields(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """JSON lines that have the fields of an lm-eval task file already."""
    return each_line(paths, root, lambda row: row.fields)
