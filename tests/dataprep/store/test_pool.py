"""Work on several processes: results in order, and a clear word when one is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.store import pool
from dataprep.store.pool import run_all, run_by_size
from support.pool_parts import doubled, killed


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_parts(workers: int) -> None:
    ticks: list[int] = []
    assert run_all(doubled, [(n,) for n in range(5)], workers, ticks.append) == [0, 2, 4, 6, 8]
    assert sum(ticks) == 10


@pytest.mark.parametrize(
    ("batch_bytes", "expected"), [(1, [4, 3, 1, 2]), (2, [4, 1, 2, 3]), (99, [1, 2, 3, 4])]
)
def test_large_parts_go_first_and_small_ones_together(
    batch_bytes: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "BATCH_BYTES", batch_bytes)
    done: list[int] = []
    assert run_by_size(doubled, [(1,), (2,), (3,), (4,)], [1, 1, 2, 5], 1, done.append) == [2, 4, 6, 8]
    assert done == expected
    assert run_by_size(doubled, [], [], 1, done.append) == []


@pytest.mark.slow(1)
def test_parts_by_size_come_back_in_their_order_from_several_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "BATCH_BYTES", 10)
    sizes = [n * 7 % 20 for n in range(50)]
    assert run_by_size(doubled, [(n,) for n in range(50)], sizes, 2, lambda _: None) == [*range(0, 100, 2)]


def test_a_worker_that_is_killed_is_told_with_what_to_do(tmp_path: Path) -> None:
    mark = tmp_path / "came to the kill"
    with pytest.raises(DataError, match="a worker process was killed"):
        run_all(killed, [(n, mark) for n in range(4)], 2, lambda _: None)
    assert mark.exists()
