"""Run `outbound` and kill it S seconds after it began to write in a folder: `killed_in.py FOLDER S WORD...`.

FOLDER is a pattern of paths (fnmatch). The clock starts as the first file in such a folder is opened to be
written, or comes under its name.
"""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from typing import Any

from kills import die_within


def main() -> None:
    folder, seconds = sys.argv.pop(1), float(sys.argv.pop(1))
    begun = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal begun
        if begun or not (event in ("os.rename", "os.link") or (event == "open" and _writes(arguments))):
            return
        place = arguments[0 if event == "open" else 1]
        if isinstance(place, str | os.PathLike) and fnmatchcase(os.path.dirname(os.fspath(place)), folder):
            begun = True
            die_within(seconds)

    sys.addaudithook(watch)
    from pipeline.cli.main import main as outbound

    outbound()


def _writes(opened: tuple[Any, ...]) -> bool:
    _, mode, flags = opened
    return any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    main()
