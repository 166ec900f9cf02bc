"""`outbound preflight`: every layout takes the steps of plain torch, whatever wrote its checkpoint.

One run of the command starts seven processes for all of it. In fp32 it compares with plain torch, in bf16,
which is another optimizer class in DeepSpeed, with one process; data parallelism alone always with that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.preflight.cases import BATCHES, CASES, CLIP, RATES, REFERENCES, first_sample
from pipeline.preflight.plain import plain_torch
from pipeline.preflight.run import differences, preflight

COMMAND = "from pipeline.cli import preflight; from pipeline.cli.main import main; main()"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "preflight", *options], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = run("--json")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if found["failed"] else 0)
    return found


@pytest.mark.slow(75)
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_a_layout_takes_the_same_steps_and_shares_its_checkpoints(report: dict[str, Any], name: str) -> None:
    """What a layout saves is what the reference saves, and each loads that and goes on: any loads any."""
    outcome = next(row for row in report["cases"] if row["case"] == name)
    assert outcome["ok"], outcome["reason"]


@pytest.mark.slow(75)
def test_nothing_is_left_out_on_a_cpu(report: dict[str, Any]) -> None:
    assert report["left_out"] == []
    assert report["passed"] == len(CASES)


def test_the_steps_are_hard_enough_to_tell() -> None:
    """Every step clips, the loss falls, and each new batch begins off DeepSpeed's own boundary."""
    steps, _ = plain_torch(REFERENCES["fp32"].config(Path()).optimizer)
    assert min(norm for _, norm in steps) > CLIP
    assert steps[0][0] - steps[-1][0] > 0.03
    grown = [step for step in range(1, len(BATCHES)) if BATCHES[step] != BATCHES[step - 1]]
    assert [first_sample(step) % BATCHES[step] for step in grown] == [8, 16]
    assert len(RATES) == len(BATCHES)


def test_a_number_that_is_none_is_a_difference() -> None:
    loss, norm = differences([(float("nan"), 1.0)], [(1.0, 1.0)])
    assert not loss <= 1
    assert norm == 0


@pytest.mark.slow(3)
def test_a_gpu_that_is_not_there_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    done = run("--gpu")
    assert done.returncode == 2
    assert "torch finds no GPU" in done.stderr


@pytest.mark.slow(40)
@pytest.mark.parametrize(
    ("fault", "case", "reason"),
    [
        ("late gradients", "bf16 PP2 ZeRO-1", "the gradient's norm may differ"),
        ("no clipping", "fp32 PP2 ZeRO-1", "the loss may differ"),
        ("moments forgotten", "fp32 PP2 ZeRO-1", "is not what was loaded"),
        ("dies", "fp32 PP2 ZeRO-1", "rank"),
    ],
)
def test_the_suite_sees_a_layout_that_is_wrong(
    healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, case: str, reason: str
) -> None:
    shutil.copytree(healthy, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("FAULT", fault)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    (outcome,) = preflight(
        [each for each in CASES if each.name == case], tmp_path, print, "support.workers.preflight"
    )
    assert not outcome.ok
    assert reason in outcome.reason


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the references have run."""
    directory = tmp_path_factory.mktemp("preflight")
    assert all(outcome.ok for outcome in preflight(REFERENCES.values(), directory, print))
    return directory


@pytest.mark.slow(10)
def test_the_speed_of_this_machine_is_measured_without_training() -> None:
    done = run("--speed", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["summary"].startswith("1 node, clocks within 0.0")
    assert found["all_reduce_bytes_per_s"] > 0
    assert [rank["flops"] > 0 for rank in found["ranks"]] == [True, True]
    assert found["nodes"][0] in done.stderr
