"""Find the published files of the sets in a directory, and read their examples."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from dataprep.errors import DataError
from pipeline.errors import UsageError
from pipeline.eval.documents import Example
from pipeline.eval.tasks import TaskFile

WILD = frozenset("*?[")


@dataclass(frozen=True)
class SetFiles:
    """The files of a task's set, as paths in the directory; missing: names that no file has."""

    test: tuple[str, ...]
    train: tuple[str, ...]
    missing_test: tuple[str, ...]
    missing_train: tuple[str, ...]


def files_in(data: Path) -> list[str]:
    """The paths of all files in a directory, without hidden ones. Raises UsageError when there is none."""
    if not data.is_dir():
        raise UsageError(f"{data}: there is no such directory; give the directory of evaluation sets")
    found = []
    for folder, inner, names in os.walk(data):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        at = Path(folder).relative_to(data)
        found += [(at / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def find(task: TaskFile, data: Path, listed: Sequence[str]) -> SetFiles:
    """Find the files of a task among those of a directory, wherever in it they lie, also with `.gz`.

    Of a file with several names, A|B, the first that is there counts.

    Raises UsageError when several files have a name of which one is wanted, or one has a name that no line
    can show.
    """
    found: dict[str, list[str]] = {"test": [], "train": []}
    missing: dict[str, list[str]] = {"test": [], "train": []}
    for part, patterns in task.files.items():
        for names in patterns:
            matches = _first_that_is_there(task, names.split("|"), data, listed)
            found[part] += matches
            missing[part] += [] if matches else [" or ".join(names.split("|"))]
    return SetFiles(
        tuple(dict.fromkeys(found["test"])),
        tuple(dict.fromkeys(found["train"])),
        tuple(missing["test"]),
        tuple(missing["train"]),
    )


def _first_that_is_there(
    task: TaskFile, names: Sequence[str], data: Path, listed: Sequence[str]
) -> list[str]:
    for pattern in names:
        # Neither a broken link nor a pipe, which would be waited for.
        matches = [path for path in listed if _matches(path, pattern) and (data / path).is_file()]
        if wrong := [path for path in matches if not path.isprintable()]:
            raise UsageError(
                f"{data}: {task.name} finds {wrong[0]!r}: take the odd characters out of its name"
            )
        if len(matches) > 1 and not WILD & {*pattern}:
            raise UsageError(
                f"{data}: {task.name} wants one {pattern}, and there are several ({', '.join(matches)}): "
                "leave one of them"
            )
        if matches:
            return matches
    return []


def _matches(path: str, pattern: str) -> bool:
    return any(PurePosixPath(path).match(each) for each in (pattern, f"{pattern}.gz"))


def examples(reader: str, data: Path, paths: Sequence[str], hashes: Mapping[str, str]) -> tuple[Example, ...]:
    """Read the examples of some files; the protocols of a task share them. hashes: of the files.

    Raises DataError when there are none, or what lies there is not in the published format.
    """
    return _examples(reader, data, tuple((path, hashes[path]) for path in paths))


@lru_cache(maxsize=2)
def _examples(reader: str, data: Path, files: tuple[tuple[str, str], ...]) -> tuple[Example, ...]:
    module, function = reader.split(".")
    read = getattr(importlib.import_module(f"pipeline.eval.sets.{module}"), function)
    found = tuple(read([data / path for path, _ in files], data))
    if not found:
        names = ", ".join(path for path, _ in files)
        raise DataError(f"{names} in {data}: no example is there; fetch the set again")
    return found
