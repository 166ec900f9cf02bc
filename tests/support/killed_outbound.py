"""Run `outbound` and kill it at a chosen moment: `python -m support.killed_outbound HOW ... WORD...`.

`at N WORD...` kills it just before its Nth change of a name (0: never). Names are what commits are made of: a
file appears under its name, takes another's place, or goes.
`after N pages|part WORD...` kills it as it comes to page or part N + 1.
`in FOLDER S WORD...` kills it S seconds after it began to write in a folder. FOLDER is a pattern of paths
(fnmatch). The clock starts as the first file in such a folder is opened to be written, or comes under its
name.
"""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from typing import Any

from support.kills import die_before, die_within


def main() -> None:
    how = sys.argv.pop(1)
    if how == "at":
        die_before(int(sys.argv.pop(1)), os, "link", "replace", "rename", "unlink", "rmdir")
    elif how == "after":
        number, what = int(sys.argv.pop(1)), sys.argv.pop(1)
        die_before(number + 1, *_places()[what])
    else:
        folder, seconds = sys.argv.pop(1), float(sys.argv.pop(1))
        _die_in(folder, seconds)
    from pipeline.cli.main import main as outbound

    outbound()


def _places() -> dict[str, tuple[Any, str]]:
    from dataprep.crawl.journal import Attempt
    from dataprep.store.step import Task

    return {"pages": (Attempt, "finish"), "part": (Task, "publish_table")}


def _die_in(folder: str, seconds: float) -> None:
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


def _writes(opened: tuple[Any, ...]) -> bool:
    _, mode, flags = opened
    return any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    main()
