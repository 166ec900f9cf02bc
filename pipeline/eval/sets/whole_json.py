"""Sets that are one JSON value a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from pipeline.eval.sets.rows import Row, parsed, reading


def json_object(path: Path) -> Row:
    """The object that a file is. Raises DataError for anything else."""
    value = _json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: is no JSON object; the published file is one")
    return Row(str(path), value)


def json_objects(path: Path) -> list[Row]:
    """The list of objects that a file is. Raises DataError for anything else."""
    return Row(str(path), {"list": _json(path)}).rows("list")


def _json(path: Path) -> Any:
    with reading(path) as file:
        return parsed(file.read(), str(path))
