"""One page, read from its WARC record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dataprep.errors import DataError
from dataprep.warc.content_encoding import BadEncoding, TooLarge
from dataprep.warc.reader import Damaged, record_in, response_of

NO_DAY = "2100-01-01"
"""Where a capture has no date, any date that a page gives itself passes; today must not decide."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class UnreadablePage(Exception):
    """A page that gives no document; the argument is the reason to count."""


@dataclass(frozen=True)
class Page:
    """A page's bytes without their codings, its Content-Type header, and the day of its capture."""

    body: bytes
    content_type: str
    day: str


def read_page(warc: Path, offset: int, length: int, limit: int) -> Page:
    """The page of the record at a place of a WARC file.

    Raises UnreadablePage for a record that is not whole, down to a flipped bit, for a page of more than
    `limit` bytes and for codings that are not known; DataError when the file is gone.
    """
    try:
        with warc.open("rb") as file:
            file.seek(offset)
            record = record_in(file.read(length), offset)
    except FileNotFoundError:
        raise DataError(f"{warc}: is missing; restore it from a copy and run the command again") from None
    except (OSError, Damaged):
        raise UnreadablePage("damaged_record") from None
    if record.kind not in ("response", "resource"):
        raise UnreadablePage("damaged_record")
    response = response_of(record)
    try:
        body = response.page(limit)
    except TooLarge:
        raise UnreadablePage("too_large") from None
    except BadEncoding:
        raise UnreadablePage("unknown_coding") from None
    day = record.date[:10]
    return Page(body, response.content_type, day if _DAY.fullmatch(day) else NO_DAY)
