"""Parallel texts: two files whose sentences translate each other, as the WMT tasks publish them.

Plain text has a sentence a line (newstest2013.en, newstest2013.eng); SGML has `<seg>` and `<doc>`
(newstest2014-fren-src.en.sgm; https://www.statmt.org/wmt14/translation-task.html). The language is the last
part of the name.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Keys, lines, name

_NAME = re.compile(
    r"(?P<set>.+?)(?:-(?:src|ref))?\.(?P<language>[a-z]{2,3})(?P<sgm>\.sgm)?(?:\.txt)?(?:\.gz)?"
)
_SHORT = {"eng": "en", "fra": "fr", "fre": "fr", "deu": "de", "ger": "de", "ron": "ro", "rum": "ro"}
_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg>", re.IGNORECASE)
_DOCUMENT = re.compile(r'<doc\b[^>]*\bdocid="([^"]*)"', re.IGNORECASE)


class _Sentence(NamedTuple):
    line: int
    document: str
    text: str


def parallel(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """Pairs of sentences as {"translation": {language: sentence}}; the file and line are the first file's.

    Several pairs of files follow each other; of several files with the same language of one set, as SGML
    beside plain text, the first counts. Raises DataError where a file lacks its partner or they differ in
    length.
    """
    sets: dict[Path, dict[str, Path]] = {}
    for path in paths:
        parts = _NAME.fullmatch(path.name)
        if parts is None:
            raise DataError(f"{path}: does not end in a language; call it NAME.en or NAME.en.sgm")
        language = _SHORT.get(parts["language"], parts["language"])
        sets.setdefault(path.with_name(parts["set"]), {}).setdefault(language, path)
    for sides in sets.values():
        if len(sides) != 2:
            found = ", ".join(str(path) for path in sides.values())
            raise DataError(f"{found}: a parallel text is two files of one name in two languages")
        yield from _pairs(sides, root)


def _pairs(sides: dict[str, Path], root: Path) -> Iterator[Example]:
    (first, first_path), (second, second_path) = sides.items()
    ours, theirs = _sentences(first_path), _sentences(second_path)
    if len(ours) != len(theirs):
        raise DataError(
            f"{first_path}: has {len(ours):,} sentences, {second_path} {len(theirs):,}; a pair has as many"
        )
    file, keys = name(first_path, root), Keys()
    for one, other in zip(ours, theirs, strict=True):
        key = keys(f"{file}:{one.line}")
        unit = f"{file}:{one.document}" if one.document else key
        row = {"translation": {first: one.text, second: other.text}}
        yield Example(file=file, line=one.line, key=key, unit=unit, row=row)


def _sentences(path: Path) -> list[_Sentence]:
    if not path.name.removesuffix(".gz").endswith(".sgm"):
        return [_Sentence(number, "", line.strip()) for number, line in lines(path)]
    sentences, document = [], ""
    for number, line in lines(path):
        if (begins := _DOCUMENT.search(line)) is not None:
            document = begins[1]
        for text in _SEGMENT.findall(line):
            sentences.append(_Sentence(number, document, html.unescape(text).strip()))
    if not sentences:
        raise DataError(f"{path}: has no <seg>; call it .txt if it is plain text")
    return sentences
