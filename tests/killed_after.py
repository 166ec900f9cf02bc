"""Run `outbound` and SIGKILL it as it comes to page or part N + 1: `killed_after.py N pages|part WORD...`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from dataprep.crawl.journal import Attempt
from dataprep.extract import stage as extract

PLACES: dict[str, tuple[Any, str]] = {"pages": (Attempt, "finish"), "part": (extract, "publish_table")}


def main() -> None:
    left, (owner, name) = int(sys.argv.pop(1)), PLACES[sys.argv.pop(1)]
    function = getattr(owner, name)

    def counted(*words: Any, **named: Any) -> Any:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*words, **named)

    setattr(owner, name, counted)
    from pipeline.cli.main import main as outbound

    outbound()


if __name__ == "__main__":
    main()
