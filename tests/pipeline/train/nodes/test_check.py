"""The check of a job's nodes, by tasks that are on nodes of their own as far as they can see."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.checkpoint import attempts
from slurm.codes import BAD_NODE_EXIT, USAGE_EXIT
from support.ranks import Ranks

pytestmark = pytest.mark.slow(5)

MakeRun = Callable[..., Any]


def start(run: Any, *overrides: list[str]) -> Ranks:
    """A task with overrides of its own on each of some nodes."""
    return Ranks(
        run.home,
        [str(run.written()), "train.tokens=64", "schedule.warmup_tokens=0"],
        [
            {
                "SLURMD_NODENAME": f"node{number}",
                "SLURM_PROCID": str(number),
                "SLURM_NTASKS": str(len(overrides)),
                "SLURM_LOCALID": "0",
                "SLURM_STEP_ID": "0",
                "OUTBOUND_ENDS": str(run.home),
                "OVERRIDES": json.dumps(own),
            }
            for number, own in enumerate(overrides)
        ],
        "support.workers.task",
    )


def found(run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((attempts.folder(run.dir, 1) / "node_check.json").read_text())
    return found


def test_nodes_are_measured_before_the_first_step(tiny_run: MakeRun) -> None:
    run = tiny_run()
    tasks = start(run, [], [])
    assert tasks.wait() == [0, 0], tasks.told()
    checked, _, rest = tasks.told().partition("\n")
    assert checked.startswith("checked in ")
    assert ": 2 nodes, clocks within " in checked
    assert "started: 2 processes" in rest
    assert found(run)["bad"] == {}
    assert found(run)["all_reduce_bytes_per_s"] > 0
    for number, task in enumerate(found(run)["ranks"]):
        assert task["node"] == f"node{number}"
        assert task["flops"] > 0
        assert task["link"] > 0
        assert f"node{number}: 1 x cpu, clock " in run.logs()
    assert not list(run.home.glob("*.json")), "no task ended by an error"


def test_a_node_with_another_configuration_is_named_and_no_step_is_taken(tiny_run: MakeRun) -> None:
    run = tiny_run()
    tasks = start(run, [], ["optimizer.lr=0.02"])
    assert tasks.wait() == [BAD_NODE_EXIT] * 2, tasks.told()
    assert "node1: the hash of the configuration is " in tasks.told()
    for number in range(2):
        noted = json.loads((run.home / f"{number}.json").read_text())
        assert noted["bad_nodes"] == found(run)["bad"]
        assert list(noted["bad_nodes"]) == ["node1"]
    ended = attempts.read(run.dir, 1).ended
    assert ended is not None
    assert ended.code == BAD_NODE_EXIT
    assert attempts.latest(run.dir) is None, "the attempt has not begun"


def test_a_disk_without_room_for_a_checkpoint_is_refused_before_the_first_step(tiny_run: MakeRun) -> None:
    run = tiny_run()
    tasks = start(run, ["model.d_model=4_000_000", "parallel.pipeline_stages=1"])
    assert tasks.wait() == [USAGE_EXIT], tasks.told()
    assert "GB are free, and a checkpoint takes 46" in tasks.told()
    assert found(run)["bad"] == {}
