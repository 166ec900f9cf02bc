"""Work on several processes: results in order, and a clear word when one is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.store.pool import run_all
from support.pool_parts import doubled, killed


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_parts(workers: int) -> None:
    ticks: list[int] = []
    assert run_all(doubled, [(n,) for n in range(5)], workers, ticks.append) == [0, 2, 4, 6, 8]
    assert sum(ticks) == 10


def test_a_worker_that_is_killed_is_told_with_what_to_do(tmp_path: Path) -> None:
    mark = tmp_path / "came to the kill"
    with pytest.raises(DataError, match="a worker process was killed"):
        run_all(killed, [(n, mark) for n in range(4)], 2, lambda _: None)
    assert mark.exists()
