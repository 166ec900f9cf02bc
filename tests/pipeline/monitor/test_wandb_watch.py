"""`outbound wandb-sync --watch`: it follows runs to their end, against a server on loopback."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.cli import status
from pipeline.monitor import wandb_sync
from pipeline.monitor.run_files import MetricsRow, all_metrics
from pipeline.monitor.wandb_server import TryLater
from pipeline.monitor.wandb_sync import WandbSync
from slurm.script import train
from support import cli
from support.servers.wandb import Run, WandbServer
from support.slurm_commands import SlurmCommands
from support.submitted import submitted
from support.written_runs import ID, WrittenRun, complete


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    return WrittenRun(tmp_path / "zwei Läufe")


@pytest.mark.slow(1)
def test_watching_sends_each_step_once_lists_undone_steps_once_and_ends_with_the_run(
    run: WrittenRun, server: WandbServer
) -> None:
    sync = WandbSync(run.dir)
    assert not sync.update(), "nothing is there yet"
    run.steps(7)
    sync.update()
    run.roll_back(4)
    run.steps(2)
    sync.update()
    assert sync.undone == [5, 6]
    run.steps(2)
    run.end(stopped=True)
    assert not sync.update(), "its job is queued again"
    assert server.run.exit_code == 0
    run.attempt(8)
    run.steps(3)
    sync.update()
    assert server.run.exit_code is None, "it runs again"
    run.end()
    assert sync.update()
    history = server.run.history
    assert [line["_step"] for line in history] == list(range(1, 12))
    assert [line["loss"] for line in history] == [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15]
    assert len(server.run.received) == 11
    assert sync.undone == [5, 6]
    assert server.run.summary["undone_steps"] == "5-6"
    assert "undone" not in cli.run("wandb-sync", run.dir).stdout, "they are in the summary by now"


@pytest.mark.slow(1)
def test_the_command_watches_until_the_run_has_ended(
    run: WrittenRun, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_sync, "POLL_S", 0.01)
    monkeypatch.setattr(wandb_sync, "SHARE", 1.0)
    monkeypatch.setattr(wandb_sync, "HEARTBEAT_S", 0.0)

    def train(_: Run, lines: int) -> str:
        if run.step < 8:
            run.steps(1)
        elif not (run.current.folder / "summary.json").exists():
            run.end()
        return ""

    server.on_stream = train
    (found,) = cli.result("wandb-sync", run.dir, "--watch")["runs"]
    assert (found["sent"], found["last_step"]) == (8, 8)
    complete(run, server)
    assert server.heartbeats, "a silent run would be shown as crashed"


def test_watching_ends_with_the_reason_once_nothing_goes_on_with_a_run(
    run: WrittenRun, server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_sync, "POLL_S", 0.01)
    monkeypatch.setattr(wandb_sync, "SHARE", 1.0)
    slurm = SlurmCommands(tmp_path / "commands", monkeypatch)
    killed, waiting = WrittenRun(tmp_path / "killed"), tmp_path / "waiting"
    run.steps(3)
    run.end()
    killed.steps(3)
    killed.current.end(1, "a loss that is not finite")
    submission = submitted(waiting, "train", train("tiny.yaml", ["outbound", "train", "tiny.yaml"]), "814")
    slurm.queue("814|outbound-train-tiny|PENDING|Priority")
    monkeypatch.setattr(status, "ASK_EVERY_S", 0.0)
    later = f"echo 1 > '{submission.logs}/814.code'; : > {slurm.folder}/queue"
    (slurm.folder / "squeue").write_text(f"#!/bin/sh\ncat {slurm.folder}/queue\n{later}\n")
    ended = cli.run("wandb-sync", run.dir, killed.dir, waiting, "--watch")
    assert ended.returncode == 1
    told = " ".join(ended.stderr.split())
    why = f"{killed.dir}: attempt 1 ended with code 1: a loss that is not finite; nothing goes on with it"
    assert f"{why}; given up" in told
    assert f"{waiting}: the first attempt has not begun yet; trying again" in told
    assert f"{waiting}: its job has ended before the first attempt has begun; given up" in told
    complete_history = [line["_step"] for line in server.runs[ID].history]
    assert complete_history == [1, 2, 3], "of both, which have one id here"


def test_watching_goes_on_while_a_run_that_failed_is_queued_again(
    run: WrittenRun, server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_sync, "POLL_S", 0.01)
    monkeypatch.setattr(wandb_sync, "SHARE", 1.0)
    monkeypatch.setenv("SLURM_JOB_ID", "814")
    slurm = SlurmCommands(tmp_path / "commands", monkeypatch)
    submitted(run.dir, "train", train("tiny.yaml", ["outbound", "train", "tiny.yaml"]), "814")
    slurm.queue("814|outbound-train-tiny|PENDING|BeginTime")
    run.attempt(0)
    run.steps(2)
    run.current.end(1, "an error of NCCL")

    def go_on(_: Run, lines: int) -> str:
        if run.current.number == 2:
            run.attempt(1)
            run.steps(3)
            run.end()
        return ""

    server.on_stream = go_on
    ended = cli.run("wandb-sync", run.dir, "--watch")
    assert ended.returncode == 0, ended.stderr
    assert [line["_step"] for line in server.run.history] == [1, 2, 3, 4]


def test_a_filesystem_that_is_away_for_a_while_ends_no_watching(
    run: WrittenRun, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_sync, "POLL_S", 0.01)
    away = iter([OSError(errno.ESTALE, "Stale file handle")])

    def flaky(path: Path) -> list[MetricsRow]:
        if error := next(away, None):
            raise error
        return all_metrics(path)

    monkeypatch.setattr(wandb_sync, "all_metrics", flaky)
    run.steps(3)
    run.end()
    ended = cli.run("wandb-sync", run.dir, "--watch")
    assert ended.returncode == 0, ended.stderr
    assert "Stale file handle); trying again" in " ".join(ended.stderr.split())
    complete(run, server)


def test_watching_prints_a_problem_once_when_it_appears(
    run: WrittenRun, server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_sync, "POLL_S", 0.01)
    monkeypatch.setattr(wandb_sync, "SHARE", 1.0)
    update, looks = WandbSync.update, 0

    def at_last(sync: WandbSync) -> bool:
        nonlocal looks
        looks += sync.run == run.dir
        if sync.run == run.dir and looks < 4:
            raise TryLater("the server is away")
        if looks == 6:
            run.end()
        return update(sync)

    monkeypatch.setattr(WandbSync, "update", at_last)
    run.steps(2)
    ended = cli.run("wandb-sync", tmp_path, run.dir, "--watch")
    assert ended.returncode == 1
    told = " ".join(ended.stderr.split())
    assert told.count("the server is away; trying again") == 1
    given_up = "expected the directory of a training run; given up"
    assert 0 <= told.index(given_up) < told.index("error:")
    complete(run, server)
