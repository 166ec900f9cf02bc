"""Evaluation sets as they lie in a directory: JSON lines of any fields, TSV, plain text, each also as .gz.

A line is an example. Its texts are all strings of the JSON object, the fields of the TSV, or the line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from dataprep.errors import DataError
from dataprep.store.files import hash_file

JSON_LINES = (".jsonl", ".ndjson")
IDS = ("id", "question_id", "ind", "idx", "qid", "guid")
"""Fields that hold an example's own id, the first that is there."""


@dataclass(frozen=True)
class Example:
    """One line of a set: its number from 1, the id that it gives itself, and its texts in order."""

    line: int
    id: str | int | None
    texts: list[str]

    @property
    def text(self) -> str:
        """All texts in their order, so that a question that runs on into its answer is found, too."""
        return " ".join(self.texts)


def files(sets: Path) -> dict[str, Path]:
    """The evaluation sets of a directory by name, which is the path in it; hidden files are none.

    Raises DataError when there are none.
    """
    found = {
        path.relative_to(sets).as_posix(): path
        for path in sorted(sets.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(sets).parts)
    }
    if not found:
        what = "holds no evaluation set" if sets.is_dir() else "there is no such directory"
        raise DataError(f"{sets}: {what}; give a directory of JSONL, TSV or text files")
    return found


def hashes(sets: Path) -> dict[str, str]:
    """The xxh3_128 of each set's file, by name."""
    return {name: hash_file(path) for name, path in files(sets).items()}


def content(hashes: dict[str, str]) -> str:
    """One hash over the names and contents of all sets."""
    return xxhash.xxh3_128_hexdigest(json.dumps(hashes, sort_keys=True).encode())


def examples(path: Path) -> Iterator[Example]:
    """The examples of one set; empty lines are none.

    Raises DataError for a file that is damaged or not UTF-8, and for a line of JSONL that is no JSON.
    """
    kind = path.name.lower().removesuffix(".gz")
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                if kind.endswith(JSON_LINES):
                    yield _json_example(path, number, line)
                else:
                    texts = line.split("\t") if kind.endswith(".tsv") else [line]
                    yield Example(number, None, [text.strip() for text in texts])
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read as text ({error}); an evaluation set is JSONL, TSV or plain text in "
            "UTF-8, as it is or with gzip (.gz)"
        ) from None


def _json_example(path: Path, number: int, line: str) -> Example:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}:{number}: is no JSON ({error}); repair it, or name the file .txt if it is plain text"
        ) from None
    own = next((row[name] for name in IDS if name in row), None) if isinstance(row, dict) else None
    return Example(number, own if isinstance(own, str | int) else None, list(strings(row)))


def strings(value: Any) -> Iterator[str]:
    """All strings of a JSON value, depth first, in order.

    >>> [*strings({"question": "Why?", "choices": [{"text": "So."}, "No."], "label": 1})]
    ['Why?', 'So.', 'No.']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)
