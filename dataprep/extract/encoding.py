"""In which encoding a page is written, and its text.

By its byte order mark, or because it is UTF-8 but for a few bytes (by chance no other text is); then what the
server said, what the page says of itself, and what its bytes look like: the first of these under which every
byte has a meaning, else the one under which the fewest have none. Labels are read as browsers do
(encoding.spec.whatwg.org), which take ISO-8859-1 for Windows-1252 and GB2312 for GB18030.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from charset_normalizer import from_bytes

DECLARED_BYTES = 4096
"""How far into a page its own declaration is looked for (browsers: 1,024)."""
SAMPLE_BYTES = 16_384
"""How much of a page that declares nothing is looked at to tell its encoding."""
BROKEN = 10
"""A page whose characters beyond ASCII are valid UTF-8 but for one in so many is UTF-8, with damage."""

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]+)""", re.I)
_DECLARATION = re.compile(
    rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([\w.:-]+)|^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)""",
    re.I,
)
_WIDER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
}
"""Python's names of encodings that the web means another one by."""
_KNOWN = frozenset(
    "utf-8 utf-16-le utf-16-be cp866 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 "
    "iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u mac-roman mac-cyrillic cp874 cp932 "
    "cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 gb18030 hz big5hkscs euc_jp "
    "iso2022_jp iso2022_kr".split()
)
"""Only these: Python's other codecs are not of the web, and some are slow on hostile bytes."""
_SEVEN_BIT = {"iso2022_jp": b"\x1b", "iso2022_kr": b"\x1b", "hz": b"~{"}
"""Encodings made of ASCII bytes, which are valid UTF-8 too, and what their texts contain."""


def decoded(body: bytes, content_type: str = "") -> str:
    """The text of a page that came with this Content-Type header; what no encoding explains is U+FFFD."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    declared = list(_declared(body, content_type))
    for name in declared:
        if (sign := _SEVEN_BIT.get(name)) and sign in body:
            return body.decode(name, "replace")
    if not any(name.startswith("utf-16") for name in declared):
        text = body.decode("utf-8", "replace")
        if (broken := text.count("\ufffd")) == 0 or BROKEN * broken < _beyond_ascii(text):
            return text
    texts = []
    for name in _candidates(body, declared):
        try:
            return body.decode(name)
        except UnicodeDecodeError:
            texts.append(body.decode(name, "replace"))
    return min(texts, key=lambda text: text.count("\ufffd"))


def python_name(label: str) -> str:
    """Python's name of the encoding that a label means on the web; "" for one that is none.

    >>> python_name("ISO-8859-1"), python_name("x-sjis"), python_name("rot13")
    ('cp1252', 'cp932', '')
    """
    label = label.strip().lower()
    label = {"x-gbk": "gbk", "x-sjis": "shift_jis", "x-euc-jp": "euc_jp", "ks_c_5601-1987": "euc_kr"}.get(
        label, label.removeprefix("x-")
    )
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return ""
    name = _WIDER.get(name, name)
    return name if name in _KNOWN else ""


def _beyond_ascii(text: str) -> int:
    """How many characters are not ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _declared(body: bytes, content_type: str) -> Iterator[str]:
    """The encodings that the server and the page name."""
    if (found := _CHARSET.search(content_type)) and (name := python_name(found[1])):
        yield name
    if inside := _DECLARATION.search(body[:DECLARED_BYTES]):
        name = python_name((inside[1] or inside[2]).decode("ascii", "replace"))
        if name:
            # a page whose ASCII could be read is in no UTF-16, whatever it says
            yield "utf-8" if name.startswith("utf-16") else name


def _candidates(body: bytes, declared: list[str]) -> Iterator[str]:
    yield from declared
    yield from _detected(body)
    yield "utf-8"
    yield "cp1252"


def _detected(body: bytes) -> Iterator[str]:
    """What the bytes look like; asked of the lines that are not ASCII, since only these tell."""
    sample = bytearray()
    for line in body.splitlines(keepends=True):
        if not line.isascii():
            sample += line[:SAMPLE_BYTES]
        if len(sample) >= SAMPLE_BYTES:
            break
    best = from_bytes(bytes(sample[:SAMPLE_BYTES])).best()
    if best and (name := python_name(best.encoding)):
        yield name
