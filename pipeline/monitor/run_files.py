"""The small files of a run's directory, read back: JSON, and lines of JSON that may still be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import RunError


def read_json(path: Path) -> Any:
    """A JSON file. Raises RunError when it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}): restore it from a copy, or remove it") from None


def whole_lines(path: Path) -> list[Any]:
    """All whole lines of a file of JSON lines; a running run may be writing the last. Raises RunError."""
    try:
        *lines, _ = path.read_text().split("\n")
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error}): restore it from a copy, or remove it") from None
