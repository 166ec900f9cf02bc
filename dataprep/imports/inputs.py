"""The files of an import: what a folder holds of a kind, how rows are named, and that nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from dataprep.corpus.directory import Increment
from dataprep.errors import DataError, UsageError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import hash_file, write_once

_COMPRESSED = ("", ".gz", ".zst", ".bz2", ".xz")
ENDINGS: dict[str, tuple[str, ...]] = {
    "warc": (".warc", ".warc.gz", ".arc", ".arc.gz"),
    "wet": (".wet", ".wet.gz"),
    "cdx": (".cdx", ".cdxj", ".gz", ".zst", ".bz2", ".xz"),
    "text": tuple(f".{name}{ending}" for name in ("txt", "text", "md") for ending in _COMPRESSED),
    "jsonl": tuple(f".{name}{ending}" for name in ("jsonl", "ndjson", "json") for ending in _COMPRESSED),
    "parquet": (".parquet",),
}
"""What the names of a kind's files end in; in folders only, others are taken as given."""

IMPORT = "import.json"
"""What an increment was imported from, in its directory."""


@dataclass(frozen=True)
class Input:
    """One file. `name` is its path within the folder that was given, or its own name."""

    path: Path
    name: str
    bytes: int

    def url(self, row: int) -> str:
        """What stands for the URL of a row that has none; rows are counted from 1.

        >>> Input(Path("b/a 1.txt"), "a 1.txt", 0).url(1)
        'file:a%201.txt#1'
        """
        return f"file:{quote(self.name)}#{row}"


def expand(paths: Iterable[Path], kind: str) -> list[Input]:
    """The files that paths name, those of folders in the order of their names.

    Raises UsageError for a path that is not there; DataError for a folder without such a file, two files of
    one name, and a name that cannot be printed (not UTF-8, or with line ends): rows are named by it, and
    records hold it.
    """
    inputs: dict[str, Input] = {}
    for path in paths:
        if path.is_dir():
            found = [(file, file.relative_to(path).as_posix()) for file in _files(path, kind)]
            if not found:
                raise DataError(f"{path}: holds no {kind} file ({' '.join(ENDINGS[kind])})")
        elif path.is_file():
            found = [(path, path.name)]
        else:
            raise UsageError(f"{path}: no such file or folder")
        for file, name in found:
            if name in inputs:
                raise DataError(
                    f"{file} and {inputs[name].path}: have one name, and rows are named by it; "
                    "give the folder that holds both"
                )
            if not name.isprintable():
                raise DataError(f"{str(file)!r}: has a name that cannot be printed; rename the file")
            inputs[name] = Input(file, name, file.stat().st_size)
    return list(inputs.values())


def packs(inputs: Iterable[Input], limit: float) -> list[list[Input]]:
    """Cut inputs into runs of at least `limit` bytes; which they are depends on names and sizes alone."""
    found: list[list[Input]] = []
    size = limit
    for input_file in inputs:
        if size >= limit:
            found.append([])
            size = 0
        found[-1].append(input_file)
        size += input_file.bytes
    return found


class Import(msgspec.Struct):
    """The content of IMPORT; files are names with their xxh3_128."""

    kind: str
    options: dict[str, str]
    files: dict[str, str]


def agree(increment: Increment, wanted: Import) -> None:
    """Note what an import is made of.

    Raises DataError when an earlier call made the increment of something else: other files, files that have
    changed since, or other options.
    """
    path = increment.path / IMPORT
    if write_once(path, dump(wanted)):
        return
    begun = load(path, Import)
    if begun != wanted or list(begun.files) != list(wanted.files):
        changed = begun.files.items() ^ wanted.files.items() | begun.options.items() ^ wanted.options.items()
        names = sorted(dict(changed)) or ["--kind" if begun.kind != wanted.kind else "the order of the files"]
        raise DataError(
            f"{increment.path}: was begun with other inputs ({', '.join(names[:5])}); give the same files "
            "and options, use another --name, or, if it is unfinished, begin it anew after "
            "`outbound corpus drop`"
        )


def kind_of(increment: Increment) -> str:
    """The kind of files that an increment was imported from, "" for dumps."""
    path = increment.path / IMPORT
    return load(path, Import).kind if path.exists() else ""


def hash_input(path: Path, tick: Callable[[int], None]) -> str:
    """xxh3_128 of one file, as hex; `tick` counts files."""
    digest = hash_file(path)
    tick(1)
    return digest


def _files(folder: Path, kind: str) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(ENDINGS[kind]) and path.is_file() and not path.name.startswith(".")
    )
