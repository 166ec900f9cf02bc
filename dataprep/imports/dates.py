"""Dates as files have them, in seconds since 1970: they decide which of two copies is the earlier one."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MONTH = re.compile(r"\d{4}(-\d{2})?")
_STAMP = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
"""How digits are read, by their number; any other number of them is a time since 1970."""
_UNITS = (1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0)
"""From which size on a number counts in which parts of a second: nanoseconds, microseconds, milliseconds."""
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1, 9999))


def seconds(date: str | float | None) -> int:
    """A date in whole seconds since 1970; 0 if it is none.

    It may be ISO 8601 (UTC unless it has a zone), a year or month (its beginning), the date of an e-mail or
    feed, 8 or 14 digits (20130801), or a number since 1970 in seconds, or in thousandths, millionths or
    billionths of a second. A number of four digits is a year.

    >>> seconds("2013-08-01T00:00:00Z"), seconds("2013-08-01 02:00:00.5+02:00"), seconds("20130801")
    (1375315200, 1375315200, 1375315200)
    >>> seconds("2013-08"), seconds(1375315200123), seconds("Thu, 01 Aug 2013 00:00:00 GMT"), seconds("soon")
    (1375315200, 1375315200, 1375315200, 0)
    """
    try:
        if isinstance(date, str):
            return _of_text(date.strip())
        return _of_number(date) if date is not None else 0
    except (ValueError, OverflowError, IndexError):
        return 0


def _of_text(date: str) -> int:
    if _MONTH.fullmatch(date):
        moment = datetime.strptime(date, "%Y-%m" if "-" in date else "%Y")
    elif date.isascii() and date.isdecimal() and len(date) in _STAMP:
        moment = datetime.strptime(date, _STAMP[len(date)])
    elif re.fullmatch(r"-?\d+(\.\d*)?", date):
        return _of_number(float(date))
    else:
        try:
            moment = datetime.fromisoformat(date)
        except ValueError:
            moment = parsedate_to_datetime(date)
    return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _of_number(number: float) -> int:
    if number == int(number) and 1000 <= number <= 9999:
        return _of_text(str(int(number)))
    size = abs(number)
    found = math.floor(number / next(unit for least, unit in _UNITS if size >= least))
    return found if _FIRST <= found < _LAST else 0
