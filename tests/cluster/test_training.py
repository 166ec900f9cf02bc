"""`outbound submit train` on a real Slurm: a stop, a lost node, and the losses of an unbroken run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.checkpoint import attempts
from support import patience
from support.runs import TinyRun, make_shards
from support.slurm_cluster import MISSING, Cluster, running

LONGER = "train.tokens=12_800"

pytestmark = [
    pytest.mark.slow(120),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Cluster]:
    home = tmp_path / "slurm"
    home.mkdir()
    with running(home) as cluster:
        yield cluster


def test_a_job_goes_on_after_a_stop_and_a_lost_node_to_the_last_digit(slurm: Cluster, tmp_path: Path) -> None:
    make_shards(tmp_path / "tokens")
    unbroken = TinyRun.make(tmp_path, "unbroken", dropout=0.1)
    unbroken.train(LONGER)
    run = TinyRun.make(tmp_path, "submitted", dropout=0.1)
    job = submit(run, slurm)
    wait_until(lambda: len(steps(run)) >= 8, slurm, job)
    slurm.ask("scancel", "--signal=USR1", job)  # what Slurm itself sends `grace_s` before the time limit
    wait_until(lambda: queued_again(slurm.job(job), 1), slurm, job)
    slurm.start_again(job)
    wait_until(lambda: len(steps(run)) >= 16, slurm, job)
    lost = slurm.job(job)["BatchHost"]
    slurm.ask("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=lost")
    wait_until(lambda: queued_again(slurm.job(job), 2), slurm, job)
    slurm.start_again(job)
    wait_until(lambda: slurm.job(job)["JobState"] == "COMPLETED", slurm, job)

    assert slurm.job(job)["BatchHost"] != lost
    assert run.timeless() == unbroken.timeless()
    (log,) = (path.read_text() for path in run.dir.glob(f"logs/*-train/{job}.log"))
    assert [f"start {number}, on" in log for number in (1, 2, 3)] == [True] * 3
    assert "stopped after" in log
    assert f"trained {run.summary()['steps']} steps" in log
    assert [attempts.read(run.dir, number).job for number in attempts.numbers(run.dir)] == [job] * 3


def submit(run: TinyRun, slurm: Cluster) -> str:
    """Submit a run as people do, one process on each of two nodes; return the job's id."""
    path = run.written()
    profile = {
        "nodes": 2,
        "gpus_per_node": 0,
        "tasks_per_node": 1,
        "time": "10",
        "setup": [f'PATH="{Path(sys.executable).parent}:$PATH"'],
    }
    cluster = run.home / "cluster.yaml"
    cluster.write_text(yaml.safe_dump(profile))
    outbound = Path(sys.executable).with_name("outbound")
    words = ["submit", "train", path, LONGER, "--cluster", cluster, "--json"]
    told = subprocess.run(
        [outbound, *words], cwd=run.home, env=slurm.environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    (job,) = json.loads(told.stdout)["jobs"]
    return str(job)


def queued_again(told: dict[str, str], times: int) -> bool:
    return told["Restarts"] == str(times) and told["JobState"] == "PENDING"


def steps(run: TinyRun) -> dict[int, float]:
    return run.losses() if attempts.numbers(run.dir) else {}


def wait_until(came: Callable[[], bool], slurm: Cluster, job: str) -> None:
    def came_in_time() -> bool:
        state = slurm.job(job)["JobState"]
        assert state not in ("FAILED", "CANCELLED", "TIMEOUT"), slurm.job(job)
        return came()

    patience.wait_until(came_in_time, f"what job {job} was to do", 0.2)
