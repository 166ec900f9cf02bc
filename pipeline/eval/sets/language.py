"""Readers of GPT-2's language modelling sets (Radford et al. 2019, table 3): texts, and lines of LAMBADA."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Row, each_line, lines, name

SECTION = 1 << 15
"""Characters of a section of a text without articles: some eight windows of GPT-2's tokens."""
HUTTER_BYTES = 100_000_000
TEST_BYTES = 5_000_000
"""Length of enwik8 and text8, and of the part at the end on which papers test (Graves 2013, section 4.2)."""
_TITLE = re.compile(r" = (?!= ).*(?<! =) = ")


def lambada(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """LAMBADA as OpenAI published it: JSON lines with `text`."""
    return each_line(paths, root, _passage)


def lambada_lines(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """LAMBADA as its authors published it (Paperno et al. 2016): a line of lower-case tokens a passage."""
    for path in paths:
        file = name(path, root)
        for number, line in lines(path):
            if line.strip():
                row = _passage(Row(f"{path}:{number}", {"text": line.strip()}))
                key = f"{file}:{number}"
                yield Example(file=file, line=number, key=key, unit=key, row=row)


def documents(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Documents, one a line: JSON lines with `text`."""
    return each_line(paths, root, lambda row: {"page": row.text("text")})


def _passage(row: Row) -> dict[str, Any]:
    text = row.text("text")
    if not text.rpartition(" ")[0].strip() or text.endswith(" "):
        raise row.wrong("text", "a passage that ends in a word after a space")
    return {"text": text}


def wikitext(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """WikiText by articles, each from its title (` = Title = ` between empty lines) to the next."""
    for path in paths:
        own = [line for _, line in lines(path)]
        blank = [not line.strip() for line in own] + [True]
        starts = [
            number
            for number, line in enumerate(own)
            if _TITLE.fullmatch(line) and (number == 0 or blank[number - 1]) and blank[number + 1]
        ]
        if not starts:
            raise DataError(
                f"{path}: has no article (a line ` = Title = ` between empty lines); fetch it again"
            )
        starts[0] = 0  # the empty line before the first title
        for start, end in zip(starts, [*starts[1:], len(own)], strict=True):
            yield _text(name(path, root), start + 1, own[start:end])


def lines_of_text(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """A text of lines without articles (PTB), in sections of some SECTION characters."""
    for path in paths:
        first, section, size = 1, list[str](), 0
        for number, line in lines(path):
            section.append(line)
            size += len(line)
            if size >= SECTION:
                yield _text(name(path, root), first, section)
                first, section, size = number + 1, [], 0
        if section:
            yield _text(name(path, root), first, section)


def sentences(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Sentences that have nothing to do with each other, one a line (the One Billion Word benchmark)."""
    for path in paths:
        for number, line in lines(path):
            if line.strip():
                yield _text(name(path, root), number, [line])


def hutter(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """The last 5 MB of enwik8 or text8, in sections. Raises DataError where the file is not 100 MB long."""
    for path in paths:
        data = _bytes(path)
        if len(data) != HUTTER_BYTES:
            raise DataError(
                f"{path}: has {len(data):,} bytes, where {HUTTER_BYTES:,} are wanted; fetch it again"
            )
        line = data.count(b"\n", 0, HUTTER_BYTES - TEST_BYTES) + 1
        # The cuts may go through a character: its parts at both ends are left out.
        part = data[HUTTER_BYTES - TEST_BYTES :].lstrip(bytes(range(0x80, 0xC0)))
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(part)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is no text in UTF-8 ({error}); fetch it again") from None
        for number, section in enumerate(sections(text)):
            key = f"{name(path, root)}:{number}"
            yield Example(file=name(path, root), line=line, key=key, unit=key, row={"page": section})
            line += section.count("\n")


def sections(text: str, characters: int = SECTION) -> Iterator[str]:
    """Cut a text before the first white space after so many characters.

    >>> list(sections("one two three", 5))
    ['one two', ' three']
    """
    start = 0
    while start < len(text):
        space = re.compile(r"(?<=\S)\s").search(text, start + characters)
        end = space.start() if space else len(text)
        yield text[start:end]
        start = end


def _text(file: str, first: int, own: Iterable[str]) -> Example:
    key = f"{file}:{first}"
    page = "".join(f"{line}\n" for line in own)
    return Example(file=file, line=first, key=key, unit=key, row={"page": page})


def _bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: is damaged or cut ({error}); fetch it again") from None
