"""Kind `jsonl`: every line is an object, and one of its fields the text; compressed or not, as dumps are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from dataprep.imports.inputs import Input
from dataprep.imports.rows import BYTE_ORDER_MARK, Fields, ReadTask, Row, of_columns
from dataprep.store.decompress import Unreadable, lines
from dataprep.store.file_damage import FileDamage

LONGEST_LINE_BYTES = 256 << 20

_SURROGATE = re.compile("[\ud800-\udfff]")


def read(task: ReadTask, each: Input, fields: Fields, damage: FileDamage) -> Iterator[Row]:
    """The rows of a JSONL file. A row's number is that of its line; an empty line is none."""
    decoder = msgspec.json.Decoder(dict[str, Any])
    with each.path.open("rb") as file:
        try:
            for number, line in enumerate(lines(file, LONGEST_LINE_BYTES), start=1):
                if line.strip():
                    yield _row(number, line, decoder, fields)
        except (Unreadable, OSError) as error:
            damage.stopped = str(error)


def _row(number: int, line: bytes, decoder: msgspec.json.Decoder[dict[str, Any]], fields: Fields) -> Row:
    try:
        try:
            columns = decoder.decode(line)
        except (ValueError, RecursionError):
            columns = _as_written(line)
        return of_columns(number, columns, fields)
    except UnicodeDecodeError as error:
        return Row(number, loss="not_utf8", detail=str(error))
    except (ValueError, RecursionError) as error:
        return Row(number, loss="bad_record", detail=str(error))


def _as_written(line: bytes) -> dict[str, Any]:
    """An object as many programs write it and msgspec refuses it: behind a byte order mark, with NaN and
    infinities, control signs in strings, halves of surrogate pairs (U+FFFD in the object's own strings).

    Raises ValueError (UnicodeDecodeError where the line is no UTF-8) and RecursionError.
    """
    found = json.loads(line.decode().removeprefix(BYTE_ORDER_MARK), strict=False)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    return {
        name: _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value
        for name, value in found.items()
    }
