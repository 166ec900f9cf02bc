"""JSON objects as many programs write them, and as a strict parser refuses them.

This takes several times as long as msgspec, so callers give it only the lines that msgspec has refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from functools import cache
from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)

BYTE_ORDER_MARK = "\ufeff"
"""Stands before texts that once were files of their own."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def loose_object(line: bytes) -> dict[str, Any]:
    """An object behind a byte order mark, with NaN, infinities and numbers of any size, control signs in
    strings, and halves of surrogate pairs (U+FFFD stands for these in the object's own strings).

    Raises ValueError (UnicodeDecodeError where the line is no UTF-8) and RecursionError.

    >>> loose_object(b'{"text": "cut \\\\ud83d here", "low": -Infinity}')
    {'text': 'cut \ufffd here', 'low': -inf}
    """
    text = line.decode().removeprefix(BYTE_ORDER_MARK)
    try:
        found = json.loads(text, strict=False)
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python reads no whole number of over 4,300 digits
        found = json.loads(text, strict=False, parse_int=float)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    return {
        name: _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value
        for name, value in found.items()
    }


def loose_struct(line: bytes, kind: type[S], decisive: Container[str] = ()) -> S:
    """A struct from an object as `loose_object` reads it; a field of a wrong type takes its default.

    Raises ValueError also where a field is missing or of a wrong type that has no default or is `decisive`.
    """
    found = loose_object(line)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError:
        for field in _fields(kind):
            if not field.required and field.name not in decisive and not _fits(field, found):
                del found[field.encode_name]
        return msgspec.convert(found, kind)


_fields = cache(msgspec.structs.fields)


def _fits(field: msgspec.structs.FieldInfo, found: dict[str, Any]) -> bool:
    try:
        msgspec.convert(found.get(field.encode_name, field.default), field.type)
    except msgspec.ValidationError:
        return False
    return True
