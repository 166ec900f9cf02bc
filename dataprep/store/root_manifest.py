"""`manifest.json`: the files of a directory that no other file there names, so that no loss goes unseen.

    manifest.json -> generation-2.json -> train-0001-00000-28e07272e865.tar

Every file is named here, or by a file that is. The manifest begins with its own hash, and it stands before
anything else does, so its own damage and loss are seen, too.

A file is written first and then named; it first leaves the manifest and is then removed. So a kill may leave
a file that is not known yet, and a file that is named and does not stand was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from dataprep.errors import DataError
from dataprep.store import locks
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import hash_file, replace, write_once

NAME = "manifest.json"
REMEDY = (
    "restore it from a copy, or, if there is none, `outbound corpus verify --accept` writes it anew from "
    "what stands"
)


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds.

    files: paths relative to the directory. Those of files that do not check themselves have their xxh3_128.
    """

    files: dict[str, str] = {}


def create(root: Path) -> None:
    """Write the manifest of a directory in which nothing stands yet, unless there is one."""
    write_once(root / NAME, dump(Manifest()))


def known(root: Path) -> dict[str, str]:
    """The files that the manifest names; raises DataError when it is missing or damaged."""
    return load(root / NAME, Manifest, REMEDY).files


def remember(
    root: Path,
    checked: Iterable[Path],
    plain: Iterable[Path],
    is_summed_up: Callable[[str], bool] = lambda _: False,
) -> None:
    """Name files that stand; those that are named already stay, also if they are missing or have changed.

    checked: files that check themselves. plain: files whose hash is kept. is_summed_up: whether another
    file now names a file that is named here.
    """
    with locks.waiting(root):
        before = known(root)
        after = {name: digest for name, digest in before.items() if not is_summed_up(name)}
        for path in checked:
            after.setdefault(str(path.relative_to(root)), "")
        for path in plain:
            if (name := str(path.relative_to(root))) not in after:
                after[name] = hash_file(path)
        if after != before:
            replace(root / NAME, dump(Manifest(files=dict(sorted(after.items())))))


def release(root: Path, names: Iterable[str]) -> None:
    """Take files, and all that is below directories, out of the manifest: they are about to be removed or
    replaced."""
    gone = {*names}
    with locks.waiting(root):
        before = known(root)
        after = {
            name: digest
            for name, digest in before.items()
            if gone.isdisjoint([name, *map(str, Path(name).parents)])
        }
        if after != before:
            replace(root / NAME, dump(Manifest(files=after)))


def reset(root: Path) -> list[str]:
    """Name nothing; returns what is given up, as far as it was known: files that are missing, and those that
    had another content."""
    gone = list[str]()
    with suppress(DataError):
        gone = sorted(lost(root) + altered(root))
    replace(root / NAME, dump(Manifest()))
    return gone


def lost(root: Path) -> list[str]:
    """The files that are named and do not stand."""
    named = known(root)
    gone = [name for name in named if not (root / name).is_file()]
    if gone and named != known(root):  # a command has removed them meanwhile
        return lost(root)
    return gone


def altered(root: Path) -> list[str]:
    """The files whose hash is kept and that have another now."""
    found = ((root / name, name, digest) for name, digest in known(root).items() if digest)
    return [name for path, name, digest in found if path.is_file() and hash_file(path) != digest]


def refuse_losses(root: Path, remedy: Callable[[str], str], chosen: Callable[[str], bool] = bool) -> None:
    """Raise DataError when one of the chosen files that are named does not stand."""
    for name in lost(root):
        if chosen(name):
            raise DataError(f"{root / name}: is missing; {remedy(name)}")
