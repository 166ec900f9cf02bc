"""Rows of CSV, TSV and JSON lines, plain or compressed; an error names the file and the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dataprep.errors import DataError
from dataprep.store import decompress

Column = int | str
"""A column by its number from 0, or by its name."""

COMPRESSED = (".gz", ".zst", ".xz", ".bz2")
MOST_CHARACTERS = 2**31 - 1
"""So long may a text of a CSV be."""
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".txt")


def rows(path: Path, wanted: Sequence[Column], header: bool | None) -> Iterator[tuple[int, list[Any]]]:
    """The line on which each row begins, from 1, and its cells of the wanted columns.

    A cell that a row does not have is None. In JSON a cell may be any value. Blank lines are no rows. A TSV's
    quotes are characters like others. A `.txt` file has JSON lines, or columns between tabs. header: whether
    the first row holds names; None: if a column is wanted by its name. Raises DataError for a file that
    cannot be read, is not of the kind that its name shows, or lacks a column of its header.
    """
    ending = kind_of(path)
    text = decoded(path)
    if ending.startswith(".json") or (ending == ".txt" and text.lstrip()[:1] == "{"):
        return _json(path, text, wanted)
    lines = _csv(path, text) if ending == ".csv" else _tsv(text)
    return _table(path, lines, wanted, header)


def kind_of(path: Path) -> str:
    """The ending of a file's name without that of its compression. Raises DataError if not in ENDINGS."""
    if (ending := unpacked(path).suffix.lower()) in ENDINGS:
        return ending
    raise DataError(f"{path}: ends in none of {', '.join(ENDINGS)}, also with .gz; rename it to what it is")


def unpacked(path: Path) -> Path:
    """A file's name without the ending of its compression."""
    return Path(path.stem if path.suffix.lower() in COMPRESSED else path.name)


def decoded(path: Path) -> str:
    """A file's text, decompressed, without a byte-order mark, each line ended by a newline alone.

    Raises DataError when it is missing, damaged or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = b"".join(decompress.decompressed(file))
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except decompress.Unreadable as error:
        raise DataError(f"{path}: {error}; fetch it again") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: is not UTF-8 ({error.reason}); convert the file to UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tsv(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line:
            yield number, line.split("\t")


def _csv(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MOST_CHARACTERS)  # else 131,072, and a long document would be no row
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begin, columns = 1, 0
    try:
        for cells in reader:
            if cells:
                columns = columns or len(cells)
                if len(cells) > columns:
                    raise DataError(
                        f"{path}:{begin}: has {len(cells)} columns, the first row {columns}; "
                        'put a text that holds a comma in quotes: "one, two"'
                    )
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{begin}: is no row of CSV ({error}); correct its quotes (a quote within quotes is "
            'doubled: ""), or name the file .tsv if its columns stand between tabs'
        ) from None


def _table(
    path: Path, lines: Iterator[tuple[int, list[str]]], wanted: Sequence[Column], header: bool | None
) -> Iterator[tuple[int, list[Any]]]:
    by_name = [column for column in wanted if isinstance(column, str)]
    names: list[str] = []
    if by_name if header is None else header:
        _, names = next(lines, (0, []))
    for column in by_name:
        if names.count(column) != 1:
            found = f"its columns are {', '.join(names)}" if names else "it has no header"
            how = "several columns" if column in names else "no column"
            raise DataError(f"{path}:1: has {how} {column!r} ({found}); correct `columns` and `header`")
    places = [column if isinstance(column, int) else names.index(column) for column in wanted]
    for number, cells in lines:
        yield number, [cells[place] if place < len(cells) else None for place in places]


def _json(path: Path, text: str, wanted: Sequence[Column]) -> Iterator[tuple[int, list[Any]]]:
    if numbers := [column for column in wanted if isinstance(column, int)]:
        raise DataError(
            f"{path}: holds JSON, whose columns have names; name column {numbers[0]} in `columns`"
        )
    decoder = msgspec.json.Decoder(dict[str, Any])
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = decoder.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: is no JSON object ({error}); each line must be one") from None
        yield number, [fields.get(str(column)) for column in wanted]
