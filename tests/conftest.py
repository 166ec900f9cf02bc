"""How the suite runs: in which order, by how many workers, how long, and what it says while it does.

A test or file that takes long is marked `slow(SECONDS)`. `make quick` leaves it out; other runs begin the
longest files first, once the quick ones are done.
"""

from __future__ import annotations

import gc
import logging
import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from support import still_running
from support.patience import TEST_S, patient
from support.ranks import STARTED

# No test is about time: on a busy machine, any example may take long.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

TOGETHER = ("e2e", "cluster", "realdata")
"""Folders whose tests share what takes long to make: they go to one worker."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("timeout", None) is None:
        config.option.timeout = patient(TEST_S)  # where pytest-timeout looks
    still_running.watch(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, which installs all that tests use, a test that skips for lack of an install has failed."""
    report = yield
    if report.skipped and "not installed" in str(report.longrepr) and os.environ.get("OUTBOUND_TEST_NO_LACK"):
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def _no_rank_outlives_its_test() -> Iterator[None]:
    yield
    while STARTED:
        STARTED.pop().kill()


@pytest.fixture(autouse=True)
def _no_log_outlives_its_test() -> Iterator[None]:
    """Else the next test's first message would open it, in a folder that went with the test before."""
    yield
    logger = logging.getLogger("outbound")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests come first, then the longest: no worker ends far behind the other."""
    marks: defaultdict[str, set[tuple[int, float]]] = defaultdict(
        set
    )  # that of a file is one, for all its tests
    for item in items:
        marks[_part(item.nodeid)] |= {(id(mark), mark.args[0]) for mark in item.iter_markers("slow")}
    seconds = {part: sum(each for _, each in slow) for part, slow in marks.items()}
    items.sort(key=lambda item: (seconds[_part(item.nodeid)] > 0, -seconds[_part(item.nodeid)]))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare Python looking for garbage among what stays: modules, and the tests themselves."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """The tests of a file, or of a folder in TOGETHER, go to one worker: they share fixtures."""
    config.option.loadscopereorder = False
    return _Parts(config, log)


class _Parts(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _part(nodeid)


def _part(nodeid: str) -> str:
    path = nodeid.partition("::")[0].removeprefix("tests/")
    folder = path.partition("/")[0]
    return folder if folder in TOGETHER else path
