"""What has reached the disk when a file gets its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Return a list to which every file is added that gets a name by a rename or a link from here on.

    Its new name, and whether its content had been synced by then. Of a directory its files are added.
    """
    synced: dict[int, tuple[int, int]] = {}
    named: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noted_sync(file: Any) -> None:
        fsync(file)
        found = os.fstat(file)
        synced[found.st_ino] = found.st_size, found.st_mtime_ns

    def noted(rename: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **named_arguments: Any) -> None:
            files = [path for path in Path(source).rglob("*") if path.is_file()] or [Path(source)]
            for path in files:
                found = path.stat()
                on_disk = synced.get(found.st_ino) == (found.st_size, found.st_mtime_ns)
                named.append((path.name if path != Path(source) else Path(target).name, on_disk))
            rename(source, target, **named_arguments)

        return move

    monkeypatch.setattr(os, "fsync", noted_sync)
    for name in ("replace", "rename", "link"):
        monkeypatch.setattr(os, name, noted(getattr(os, name)))
    return named
