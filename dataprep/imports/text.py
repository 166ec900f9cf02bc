"""Kind `text`: every file is one document, as books are kept."""

from __future__ import annotations

from collections.abc import Iterator

from dataprep.imports.inputs import Input
from dataprep.imports.rows import Fields, ReadTask, Row
from dataprep.store.decompress import Unreadable, decompressed
from dataprep.store.file_damage import FileDamage

LARGEST_BYTES = 256 << 20
"""A file of more text is no book; it counts as `too_large` and is never held."""


def read(task: ReadTask, each: Input, fields: Fields, damage: FileDamage) -> Iterator[Row]:
    """The one row of a text file."""
    content = bytearray()
    with each.path.open("rb") as file:
        try:
            for chunk in decompressed(file):
                content += chunk
                if len(content) > LARGEST_BYTES:
                    yield Row(1, loss="too_large", detail=f"over {LARGEST_BYTES:,} bytes of text")
                    return
        except (Unreadable, OSError) as error:
            yield Row(1, loss="bad_record", detail=str(error))
            return
    try:
        yield Row(1, text=content.decode())
    except UnicodeDecodeError as error:
        yield Row(1, loss="not_utf8", detail=str(error))
