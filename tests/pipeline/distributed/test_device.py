"""Which device a process takes, and what it refuses rather than train on another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipeline.checkpoint.attempts import host_name
from pipeline.distributed.device import gpu_of
from pipeline.errors import BadNodes, UsageError, exit_code
from slurm.codes import BAD_NODE_EXIT
from support.ranks import Ranks


@pytest.mark.parametrize(
    ("local_rank", "found", "promised", "own", "taken"),
    [
        (0, 0, 0, False, None),
        (0, 1, 0, False, 0),
        (3, 8, 0, False, 3),
        (7, 8, 8, False, 7),
        (7, 1, 8, True, 0),  # --gpus-per-task=1
        (3, 1, 0, True, 0),
    ],
)
def test_a_process_takes_the_gpu_of_its_number_or_the_one_that_it_was_given(
    local_rank: int, found: int, promised: int, own: bool, taken: int | None
) -> None:
    assert gpu_of(local_rank, found=found, promised=promised, own=own) == taken


@pytest.mark.parametrize(
    ("local_rank", "found", "own"),
    [(0, 0, False), (0, 0, True), (0, 7, False), (7, 7, False), (0, 1, False)],
)
def test_a_node_without_the_gpus_of_the_profile_is_bad(local_rank: int, found: int, own: bool) -> None:
    with pytest.raises(BadNodes, match=f"torch sees {found} of the 8 GPUs") as refused:
        gpu_of(local_rank, found=found, promised=8, own=own)
    assert list(refused.value.nodes) == [host_name()]
    assert exit_code(refused.value) == BAD_NODE_EXIT


@pytest.mark.parametrize(("local_rank", "found"), [(1, 1), (7, 4)])
def test_processes_do_not_share_a_gpu(local_rank: int, found: int) -> None:
    with pytest.raises(UsageError, match=f"torch sees {found}: start as many"):
        gpu_of(local_rank, found=found, promised=0, own=False)


@pytest.mark.slow(5)
@pytest.mark.skipif(bool(torch.version.cuda), reason="this torch was built with CUDA")
def test_a_profile_with_gpus_never_trains_on_cpus(tiny_run: Callable[..., Any]) -> None:
    run = tiny_run()
    with_gpus = {"OUTBOUND_GPUS_PER_NODE": "8"}
    ranks = Ranks(run.home, [str(run.written())], [with_gpus] * 2)
    assert ranks.wait() == [2, 2], ranks.told()
    assert "built without CUDA" in ranks.reported()
    assert not (run.dir / "attempts").exists()
