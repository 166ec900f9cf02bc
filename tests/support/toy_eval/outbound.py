"""`python -m support.toy_eval.outbound`: the command with the tasks of the tests in place of those shipped.

A process that it spawns imports this module first, and so knows the engine, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from pipeline.eval import engines, record, sets, tasks

HERE = Path(__file__).parent
SMALL = 200
"""Tokens of a partition here, so that there are several."""


@contextmanager
def installed() -> Iterator[None]:
    """Let this process know the tasks of the tests."""
    with ExitStack() as stack:
        for package in (engines, sets):
            own = str(HERE / package.__name__.rpartition(".")[2])
            stack.enter_context(patch.object(package, "__path__", [*package.__path__, own]))
        stack.enter_context(patch.object(tasks, "FOLDER", HERE / "tasks"))
        stack.enter_context(patch.object(record, "PARTITION_TOKENS", SMALL))
        yield


if __name__ in ("__main__", "__mp_main__"):  # the latter in a process that it has spawned
    FOR_EVER = ExitStack()
    FOR_EVER.enter_context(installed())
if __name__ == "__main__":
    from pipeline.cli.main import main

    main()
