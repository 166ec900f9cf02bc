"""Run `outbound` and kill it (SIGKILL) just before its Nth change of a name: `killed_at.py N WORD...`.

Names are what commits are made of: a file appears under its name, takes another's place, or goes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

CHANGES = ("link", "replace", "rename", "unlink", "rmdir")


def main() -> None:
    left = int(sys.argv.pop(1))

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
    from pipeline.cli.main import main as outbound

    outbound()


if __name__ == "__main__":
    main()
