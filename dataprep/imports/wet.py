"""Kind `wet`: Common Crawl's texts of pages, conversion records of WARC files, straight to documents."""

from __future__ import annotations

from collections.abc import Iterator

from dataprep.imports.dates import seconds
from dataprep.imports.inputs import Input
from dataprep.imports.rows import Fields, ReadTask, Row
from dataprep.store.file_damage import FileDamage
from dataprep.warc.reader import NO_RECORD, Gap, NoRecord, WarcRecord, read_warc


def read(task: ReadTask, each: Input, fields: Fields, damage: FileDamage) -> Iterator[Row]:
    """The conversion records of a file; damaged ranges are counted as rows, since each was at least one."""
    number = 0
    for found in _records(each, damage):
        if isinstance(found, Gap):
            number += 1
            where = f"bytes {found.offset:,} to {found.offset + found.length:,}"
            yield Row(number, loss=found.reason, detail=where)
        elif found.kind == "conversion":
            number += 1
            try:
                text = found.block.decode()
            except UnicodeDecodeError as error:
                yield Row(number, loss="not_utf8", detail=str(error))
            else:
                yield Row(number, text=text, url=found.url, first_seen=seconds(found.date))


def _records(each: Input, damage: FileDamage) -> Iterator[WarcRecord | Gap]:
    try:
        yield from read_warc(each.path)
    except NoRecord:
        damage.stopped = NO_RECORD
