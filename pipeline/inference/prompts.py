"""Prompts from a file: a line each, or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from dataprep.errors import DataError

BOM = b"\xef\xbb\xbf"


def of_file(path: Path) -> list[str]:
    """The prompts of a text file; of one that is named `.jsonl`, the field `prompt` of each line.

    Raises DataError for a line that is no prompt, or a file without any.
    """
    with path.open("rb") as file:
        prompts = [*of_lines(file, str(path), as_json=path.suffix == ".jsonl")]
    if not prompts:
        raise DataError(f"{path}: holds no prompt: give it a line for each")
    return prompts


def of_lines(lines: Iterable[bytes], name: str, as_json: bool = False) -> Iterator[str]:
    """The prompts of lines, one by one; empty lines are none. `name` is that of their source.

    An end of `\\r\\n` and a byte order mark before all are no part of a prompt; spaces are. Raises DataError
    for a line that is not UTF-8, or, as JSON, no object with a text `prompt`.

    >>> [*of_lines([BOM + b"the\\r\\n", b"\\n", b" a"], "-")]
    ['the', ' a']
    """
    for number, line in enumerate(lines, 1):
        line = (line.removeprefix(BOM) if number == 1 else line).removesuffix(b"\n").removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
            raise DataError(
                f"{name}: line {number:,} is not UTF-8 ({byte}): write the file as UTF-8"
            ) from None
        yield _prompt(text, f"{name}: line {number:,}") if as_json else text


def _prompt(line: str, place: str) -> str:
    try:
        prompt = json.loads(line)["prompt"]
    except (ValueError, KeyError, TypeError, IndexError):
        prompt = None
    if not isinstance(prompt, str):
        raise DataError(f'{place} is no prompt: each line of a .jsonl is such as {{"prompt": "The"}}')
    return prompt
