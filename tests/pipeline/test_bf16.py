"""In bf16, which is what GPUs compute with and another optimizer class in DeepSpeed, two stages are one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

# The command as each rank runs it, on a CPU that says that it computes as a GPU does.
IN_BF16 = """
from dataclasses import replace
import pipeline.device, pipeline.loop
on_cpu = pipeline.device.find_device
pipeline.loop.find_device = lambda rank: replace(on_cpu(rank), precision=pipeline.device.BF16)
from pipeline.cli.main import main
main()
"""


def train_in_bf16(run: Any, pipeline: int, processes: int, *overrides: str) -> None:
    """Train to the end, one process a rank."""
    path = run.home / f"{run.name}.yaml"
    path.write_text(yaml.safe_dump(run.settings))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", IN_BF16, "train", str(path), f"parallel.pipeline={pipeline}", *overrides]
    ranks = []
    for rank in range(processes):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        ranks.append(
            subprocess.Popen(
                command,
                env=os.environ | place | where,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in ranks:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, write_tokens: Any, tiny_runs: Callable[..., Any]) -> Any:
    """The same run on one process, in one stage."""
    home = tmp_path_factory.mktemp("bf16")
    write_tokens(home / "tokens")
    run = tiny_runs(home, "alone")
    # Six steps, not fast: what is rounded otherwise drives the runs apart, and is not what is looked for.
    run.settings["optimizer"]["lr"] = 0.002
    run.settings["batch"]["ramp_tokens"] = 200
    run.settings["train"] |= {"tokens": 768, "eval_every": 100, "checkpoint_every": 100}
    train_in_bf16(run, 1, 1)
    return run


def test_two_stages_take_the_steps_of_one_process(alone: Any) -> None:
    run = type(alone).make(alone.home, "two-stages")
    run.settings |= {name: alone.settings[name] for name in ("optimizer", "batch", "train")}
    train_in_bf16(run, pipeline=2, processes=2)
    ours, theirs = (
        [(row["batch"], row["loss"], row["grad_norm"]) for row in each.metrics() if "loss" in row]
        for each in (run, alone)
    )
    assert len({batch for batch, _, _ in theirs}) == 3, "the ramp has several sizes"
    assert min(norm for _, _, norm in theirs) > alone.settings["optimizer"]["clip"], "every step clips"
    for (batch, loss, norm), (batch_alone, loss_alone, norm_alone) in zip(ours, theirs, strict=True):
        assert batch == batch_alone
        assert loss == pytest.approx(loss_alone, abs=5e-4)
        assert norm == pytest.approx(norm_alone, rel=1e-3)
