"""A run's curves at Weights & Biases: each step once, whatever ended the attempts and the processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint import attempts
from pipeline.monitor.run_files import all_metrics, joined_metrics
from pipeline.monitor.wandb_history import parse_ranges
from support import cli
from support.patience import wait_until
from support.ranks import Ranks
from support.servers.wandb import WandbServer

pytestmark = pytest.mark.slow(60)

MakeRun = Callable[..., Any]
SETTINGS = (
    "batch.ramp_start_batch_size=4",
    "batch.global_batch_size=4",
    "batch.ramp_tokens=0",
    "optimizer.lr=0.005",
    "guards.spike_zscore=4",
    "guards.spike_window_steps=8",
    "train.tokens=3200",
)
NOISE = {"noise": [88, 96]}
"""Makes steps 23 and 24 spikes; the checkpoint before them is that of step 20."""


def start(run: Any, *overrides: str) -> Ranks:
    fault = {"FAULT": json.dumps(NOISE)}
    return Ranks(run.home, [str(run.written()), *SETTINGS, *overrides], [fault] * 2, "support.workers.faulty")


def helpers(ranks: Ranks) -> list[int]:
    """Processes that the ranks have started."""
    paths = (path for rank in ranks.processes for path in Path(f"/proc/{rank.pid}/task").glob("*/children"))
    return [int(child) for path in paths for child in path.read_text().split()]


def command_of(process: int) -> str:
    path = Path(f"/proc/{process}/cmdline")
    return path.read_text().replace("\0", " ") if path.exists() else ""  # empty for one that has ended


def signalled(run: Any, step: int, number: signal.Signals, ranks: Ranks) -> list[int]:
    """After that step, send a signal to every process of the run, as Slurm does; return the ranks' codes."""
    run.wait_for_step(step, ranks)
    (uploader,) = [pid for pid in helpers(ranks) if "wandb_sync" in command_of(pid)]
    for pid in (uploader, *(rank.pid for rank in ranks.processes)):
        os.kill(pid, number)
    wait_until(lambda: not command_of(uploader), f"the end of the uploader by {number.name}")
    return ranks.wait()


def losses(rows: list[dict[str, Any]]) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def test_an_online_run_has_each_step_once_whatever_ended_its_attempts(
    tiny_run: MakeRun, server: WandbServer
) -> None:
    run = tiny_run()
    first = signalled(run, 6, signal.SIGTERM, start(run, "wandb.mode=online"))
    assert first == [0, 0], "stopped and saved"
    stopped = json.loads((run.attempt / "summary.json").read_text())["steps"]
    assert [line["_step"] for line in server.run.history] == list(range(1, stopped + 1)), "also the last"

    second = signalled(run, 14, signal.SIGKILL, start(run, "wandb.mode=online"))
    assert second == [-signal.SIGKILL] * 2

    third = start(run, "wandb.mode=online")
    assert third.wait() == [0, 0], third.told()
    assert "back to step 20" in third.told()
    history, joined = server.run.history, joined_metrics(run.dir)
    assert [line["_step"] for line in history] == list(range(1, 51))
    assert server.run.exit_code == 0
    undone = parse_ranges(server.run.summary.get("undone_steps", ""))
    standing = losses(joined)
    assert {line["step"]: line["loss"] for line in history if line["step"] not in undone} == {
        step: loss for step, loss in standing.items() if step not in undone
    }
    assert any(row["step"] in (21, 22) for row, gone in all_metrics(run.dir) if gone), "the spike has hit"
    evaluated = {row["step"]: row["val_loss"] for row in joined if "val_loss" in row}
    assert {line["step"]: line["val_loss"] for line in history if "val_loss" in line} == evaluated

    server.runs.clear()
    assert cli.result("wandb-sync", run.dir)["runs"][0]["sent"] == 50
    assert {line["step"]: line["loss"] for line in server.run.history} == standing


def test_a_job_that_is_asked_to_stop_by_its_signal_keeps_its_helpers(
    tiny_run: MakeRun, server: WandbServer
) -> None:
    run = tiny_run()
    ranks = start(run, "wandb.mode=online")
    run.wait_for_step(6, ranks)
    (uploader,) = [pid for pid in helpers(ranks) if "wandb_sync" in command_of(pid)]
    for pid in (uploader, *(rank.pid for rank in ranks.processes)):
        os.kill(pid, signal.SIGUSR1)
    assert ranks.wait() == [0, 0], ranks.told()
    assert "has died" not in ranks.told()
    stopped = json.loads((run.attempt / "summary.json").read_text())["steps"]
    assert losses(server.run.history) == losses(joined_metrics(run.dir))
    assert max(losses(server.run.history)) == stopped
    assert server.run.exit_code == 0


def test_a_server_that_refuses_is_named_at_the_start_and_one_that_is_away_keeps_no_training(
    tiny_run: MakeRun, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "wrong")
    refused = tiny_run("refused")
    ranks = start(refused, "wandb.mode=online")
    assert max(ranks.wait()) == 1
    assert attempts.latest(refused.dir) is None, "it has taken nothing over"
    message = json.loads(ranks.reported())["message"]
    assert message.startswith(f"Weights & Biases does not start: {server.base} refuses the API key")
    assert message.endswith("wandb.mode=offline needs neither account nor network")

    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    run = tiny_run("away")
    ranks = start(run, "wandb.mode=online", "train.tokens=640")
    assert ranks.wait() == [0, 0], ranks.told()
    told = " ".join(ranks.told().split())
    assert "http://127.0.0.1:1 cannot be reached" in told
    assert "Weights & Biases lacks the last steps: outbound wandb-sync" in told
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    cli.result("wandb-sync", run.dir)
    assert losses(server.run.history) == losses(joined_metrics(run.dir))
