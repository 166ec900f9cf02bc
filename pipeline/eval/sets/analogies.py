"""Reader of SAT analogies: a pair of words, and five more, of which one relates as that pair does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.eval.documents import Example
from pipeline.eval.sets.rows import Keys, Row, each_line, is_json_lines, lines, name


def sat(paths: Sequence[Path], root: Path) -> Iterator[Example]:
    """SAT analogies: blocks of a source, a pair of words, five more pairs, and the letter of the right one.

    A pair is two words and their parts of speech (`lull trust v:n`); lines from # are comments. Format:
    Turney's SAT-package-V3.txt, https://aclweb.org/aclwiki/SAT_Analogy_Questions_(State_of_the_art). Copies
    are JSON lines of `stem`, `choice` and the number of the `answer`.
    """
    keys = Keys()
    for path in paths:
        if is_json_lines(path):
            yield from each_line([path], root, _analogy_of_json)
            continue
        file = name(path, root)
        block: list[tuple[int, str]] = []
        texts = ((number, line.strip()) for number, line in lines(path) if not line.startswith("#"))
        for number, line in chain(texts, [(0, "")]):  # the end of the file ends the last block
            if line:
                block.append((number, line))
            elif block:
                key = keys(f"{file}:{block[0][0]}")
                yield Example(file=file, line=block[0][0], key=key, unit=key, row=_analogy(path, block))
                block = []


def _analogy(path: Path, block: Sequence[tuple[int, str]]) -> dict[str, Any]:
    where = f"{path}:{block[0][0]}"
    if len(block) != 8:
        raise DataError(
            f"{where}: a block of {len(block)} lines, where a source, six pairs and a letter are wanted"
        )
    pairs = [line.split() for _, line in block[1:7]]
    for (number, line), pair in zip(block[1:7], pairs, strict=True):
        if len(pair) < 2:
            raise DataError(f"{path}:{number}: {line!r} is no pair of words")
    letter = Row(f"{path}:{block[7][0]}", {"answer": block[7][1].lower()})
    return {
        "stem": pairs[0][:2],
        "phrases": [f"{first} is to {second}" for first, second, *_ in pairs[1:]],
        "label": letter.one_of("answer", list("abcde")),
    }


def _analogy_of_json(row: Row) -> dict[str, Any]:
    pairs = [row.get("stem", list), *row.get("choice", list)]
    if len(pairs) < 3 or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair)
        for pair in pairs
    ):
        raise row.wrong("choice", "a list of pairs of words")
    phrases = [f"{first} is to {second}" for first, second in pairs[1:]]
    return {"stem": pairs[0], "phrases": phrases, "label": row.one_of("answer", range(len(phrases)))}
