"""Kind `jsonl`: every line is an object, and one of its fields the text; compressed or not, as dumps are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from dataprep.imports.inputs import Input
from dataprep.imports.rows import Fields, ReadTask, Row, of_columns
from dataprep.store.decompress import Unreadable, lines
from dataprep.store.file_damage import FileDamage
from dataprep.store.loose_json import loose_object

LONGEST_LINE_BYTES = 256 << 20


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
            columns = loose_object(line)
        return of_columns(number, columns, fields)
    except UnicodeDecodeError as error:
        return Row(number, loss="not_utf8", detail=str(error))
    except (ValueError, RecursionError) as error:
        return Row(number, loss="bad_record", detail=str(error))
