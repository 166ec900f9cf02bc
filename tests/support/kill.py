"""Run `outbound` and kill it (SIGKILL) at a chosen moment.

`kill.py at N WORD...` kills it just before its Nth change of a name. Names are what commits are made of: a
file appears under its name, takes another's place, or goes.
`kill.py after N pages|part WORD...` kills it as it comes to page or part N + 1.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

CHANGES = ("link", "replace", "rename", "unlink", "rmdir")


def main() -> None:
    how, number = sys.argv.pop(1), int(sys.argv.pop(1))
    if how == "at":
        _kill_at(number)
    else:
        _kill_after(number, sys.argv.pop(1))
    from pipeline.cli.main import main as outbound

    outbound()


def _kill_at(left: int) -> None:
    def killing(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **named)

        return changed

    for name in CHANGES:
        setattr(os, name, killing(getattr(os, name)))


def _kill_after(left: int, what: str) -> None:
    from dataprep.crawl.journal import Attempt
    from dataprep.extract import stage as extract

    places: dict[str, tuple[Any, str]] = {"pages": (Attempt, "finish"), "part": (extract, "publish_table")}
    owner, name = places[what]
    function = getattr(owner, name)

    def counted(*words: Any, **named: Any) -> Any:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*words, **named)

    setattr(owner, name, counted)


if __name__ == "__main__":
    main()
