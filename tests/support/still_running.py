"""Names each test that runs long, while it runs: else a test that hangs is a line that does not move."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

AFTER_S = 30.0
"""Seconds after which a test is named; again after twice as long, and so on."""


class StillRunning:
    """A plugin for pytest, in the process that prints: with xdist, workers report to it what they begin."""

    def __init__(self, say: Callable[[str], object], after_s: float = AFTER_S) -> None:
        self._say = say
        self._after_s = after_s
        self._tests: dict[str, tuple[float, float]] = {}  # (when it began, seconds after which it is named)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def pytest_sessionstart(self) -> None:
        self._thread.start()

    def pytest_sessionfinish(self) -> None:
        self._ended.set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tests[nodeid] = (time.monotonic(), self._after_s)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._tests.pop(nodeid, None)

    def _watch(self) -> None:
        while not self._ended.wait(self._after_s / 10):
            for test, (began, after_s) in list(self._tests.items()):
                if time.monotonic() - began >= after_s and test in self._tests:
                    self._tests[test] = (began, 2 * after_s)
                    self._say(f"\nstill running after {after_s:.0f} s: {test}\n")


def watch(config: pytest.Config) -> None:
    """Let a session name its long tests on standard output, past what captures that of tests."""
    if not hasattr(config, "workerinput"):
        terminal = os.dup(1)  # pytest captures only while tests are collected and run
        config.pluginmanager.register(StillRunning(lambda line: os.write(terminal, line.encode())))
