"""In which order the suite runs, and which tests one worker of two (`pytest -n 2`) takes together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from support.ranks import STARTED

# No test is about time: on a busy machine, any example may take long.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

LONG = (
    "e2e",
    "pipeline/preflight/test_preflight.py",
    "pipeline/train/test_training.py",
    "realdata",
    "pipeline/train/test_guards.py",
    "pipeline/distributed/test_launch.py",
    "pipeline/cli/test_damage.py",
    "cluster",
    "dataprep/crawl/test_killed_ingest.py",
    "pipeline/cli/test_two_at_once.py",
    "pipeline/test_nothing_is_executed.py",
    "pipeline/costs/test_memory.py",
    "dataprep/crawl/test_disk_full.py",
    "dataprep/crawl/test_restart.py",
    "pipeline/data/test_streaming.py",
    "pipeline/checkpoint/test_weights.py",
    "pipeline/data/test_mixture.py",
)
"""What takes longest, about in the order of its time: no worker ends far behind the other."""


@pytest.fixture(autouse=True)
def _no_rank_outlives_its_test() -> Iterator[None]:
    yield
    while STARTED:
        STARTED.pop().kill()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests come first."""
    items.sort(key=lambda item: LONG.index(part) if (part := _part(item.nodeid)) in LONG else -1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """The tests of a file, or of a directory in LONG, go to one worker: they share fixtures."""
    config.option.loadscopereorder = False
    return _Parts(config, log)


class _Parts(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _part(nodeid)


def _part(nodeid: str) -> str:
    path = nodeid.partition("::")[0].removeprefix("tests/")
    directory = path.partition("/")[0]
    return directory if directory in LONG else path
