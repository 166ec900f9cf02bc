"""Records: what a finished part of a step read, made and counted; and step files, which sum up all parts.

    an attempt's file -> published under a name with its hash -> record of the part -> step file

A part is done when its record stands: written last, first wins (link(2) fails if the name is taken). When all
parts of a step are done, one step file lists them. What no record names is garbage.

Later steps name a step file by its *origin*: the hash of the file as it was first written. `forget` rewrites
records and step files, which keep their origin, so nothing that was made from them has to change.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load_with_hash
from dataprep.store.files import Output, replace, write_once

T = TypeVar("T")

REMEDY = (
    "restore it from a copy, or, in an unfinished increment, delete it and run the command again, which "
    "makes it anew or says how to begin anew"
)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finished part of a step.

    inputs: what it was made from: names of files or steps, with their hashes. outputs: its files by name; the
    files of a group are named GROUP/NAME. entered = passed + sum(reasons). versions: of the code that decided
    the bytes. notes: what only this step tells (`noted`). origin: see the module.
    """

    step: str = ""
    part: str
    inputs: dict[str, str] = {}
    outputs: dict[str, Output] = {}
    entered: int = 0
    passed: int = 0
    reasons: dict[str, int] = {}
    versions: dict[str, str] = {}
    notes: dict[str, Any] = {}
    origin: str = ""

    def group(self, name: str) -> list[Output]:
        """The outputs named NAME/..., in their order."""
        return [output for key, output in self.outputs.items() if key.startswith(f"{name}/")]

    def noted(self, kind: type[T]) -> T:
        """The notes as what the step wrote: a dataclass whose fields all have defaults."""
        return msgspec.convert(self.notes, kind)


class StepFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All parts of a finished step, in order. In the file they lack what they share, and their notes."""

    step: str
    inputs: dict[str, str] = {}
    versions: dict[str, str] = {}
    parts: list[Record] = []
    origin: str = ""

    def outputs(self, name: str) -> list[Output]:
        """The output of that name of each part that has one, in the order of the parts."""
        return [part.outputs[name] for part in self.parts if name in part.outputs]


def commit(path: Path, record: Record) -> Record:
    """Make a part done; returns the record that stands: another attempt may have been first."""
    write_once(path, dump(record))
    return load_record(path)


def recommit(path: Path, record: Record) -> Record:
    """Put a record in the place of one that another version made."""
    replace(path, dump(record))
    return load_record(path)


def load_record(path: Path) -> Record:
    """Read a record; raises DataError when it is damaged or of another part."""
    record, digest = load_with_hash(path, Record, REMEDY)
    if record.part != path.stem:
        raise DataError(f"{path}: is the record of {record.part!r}; {REMEDY}")
    return record if record.origin else msgspec.structs.replace(record, origin=digest)


def records_in(directory: Path) -> list[Record]:
    """The records of a step's folder, by name."""
    return [load_record(path) for path in sorted(directory.glob("*.json"))]


def done(path: Path, inputs: dict[str, str]) -> Record | None:
    """The record of a part that was made from just these inputs, or None when it is not done yet.

    Raises DataError when it was made from others.
    """
    if not path.exists():
        return None
    record = load_record(path)
    if record.inputs != inputs:
        raise made_from_others(path, record.inputs, inputs)
    return record


def made_from_others(path: Path, then: dict[str, str], now: dict[str, str]) -> DataError:
    """What to tell of a record or step file whose inputs are not those of now."""
    changed = sorted(dict(then.items() ^ now.items()))
    return DataError(
        f"{path}: was made from other inputs ({', '.join(changed[:5])}); give the same dumps, use "
        "another --name, or, if the increment is unfinished, begin it anew after `outbound corpus drop`"
    )


def step_path(directory: Path, step: str) -> Path:
    """Where the step file of a step stands: beside the folder of its parts."""
    return directory / f"{step}.step.json"


def sum_up(
    step: str,
    inputs: dict[str, str],
    versions: dict[str, str],
    records: Iterable[Record],
    origin: str = "",
) -> bytes:
    """The bytes of a step file. origin: that of the file in whose place it comes, if its inputs stand."""
    parts = [
        Record(
            part=record.part,
            outputs=record.outputs,
            entered=record.entered,
            passed=record.passed,
            reasons=record.reasons,
            versions=record.versions if record.versions != versions else {},
        )
        for record in records
    ]
    return dump(StepFile(step=step, inputs=inputs, versions=versions, parts=parts, origin=origin))


def finish_led(
    place: Path, step: str, inputs: dict[str, str], versions: dict[str, str] | None = None
) -> StepFile:
    """Write the step file of a step that its own module led: all records of its folder are its parts."""
    path = step_path(place, step)
    if not path.exists():
        write_once(path, sum_up(step, inputs, versions or {}, records_in(place / step)))
    return load_step(path)


def origin(place: Path, step: str) -> str:
    """The origin of a finished step: by that the steps made from it name it."""
    return load_step(step_path(place, step)).origin


def load_step(path: Path) -> StepFile:
    """Read a step file; its parts get back what they share. Raises DataError when it is damaged."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from None
    return _load_step(path, (status.st_ino, status.st_mtime_ns, status.st_size))


def forget_step_files() -> None:
    """Let `load_step` read every file again."""
    _load_step.cache_clear()


@lru_cache(maxsize=64)
def _load_step(path: Path, version: tuple[int, ...]) -> StepFile:
    """Parts of one step read the same step files; `version` tells apart those that `forget` has rewritten."""
    whole, digest = load_with_hash(path, StepFile, REMEDY)
    if path != step_path(path.parent, whole.step):
        raise DataError(f"{path}: is the file of the step {whole.step!r}; {REMEDY}")
    parts = [
        msgspec.structs.replace(
            part, step=whole.step, inputs=whole.inputs, versions=part.versions or whole.versions
        )
        for part in whole.parts
    ]
    return msgspec.structs.replace(whole, parts=parts, origin=whole.origin or digest)
