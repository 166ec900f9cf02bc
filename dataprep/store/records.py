"""The records that make files count.

A partition is done when its one record exists: written last, first wins. What no record names is garbage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataprep.errors import DataError
from dataprep.store.checksummed_json import sealed, unsealed
from dataprep.store.files import Output, replace, write_once

OTHERWISE = "restore it from a copy, or, in an unfinished increment, delete it and run the command again"


@dataclass(frozen=True)
class Record:
    """What a finished partition read, made and counted; `versions` name the code that decided the bytes."""

    stage: str
    part: str
    inputs: dict[str, str]
    outputs: list[Output]
    entered: int
    passed: int
    reasons: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def commit(path: Path, record: Record) -> Record:
    """Make a partition done. If another attempt was first, its record stands and is returned."""
    return record if write_once(path, sealed(record)) else load_record(path)


def recommit(path: Path, record: Record) -> Record:
    """Put a record in the place of one that another version made."""
    replace(path, sealed(record))
    return record


def load_record(path: Path) -> Record:
    """Read a record; raises DataError when it is damaged or of another partition."""
    record = unsealed(path, Record, OTHERWISE)
    if record.part != path.stem:
        raise DataError(f"{path}: is the record of {record.part!r}; {OTHERWISE}")
    return record


def done(path: Path, inputs: dict[str, str]) -> Record | None:
    """The record of a partition that was made from just these inputs, or None when it is not done yet."""
    if not path.exists():
        return None
    record = load_record(path)
    if record.inputs != inputs:
        changed = sorted(dict(record.inputs.items() ^ inputs.items()))
        raise DataError(
            f"{path}: was made from other inputs ({', '.join(changed[:5])}); give the same dumps, use "
            "another --name, or, if the increment is unfinished, begin it anew after `outbound corpus drop`"
        )
    return record
