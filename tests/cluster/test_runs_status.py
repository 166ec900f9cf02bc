"""A training job on a real Slurm, as `outbound status`, `logs` and `cancel` show and end it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from pipeline.checkpoint import attempts
from slurm import submissions
from support import patience
from support.runs import TinyRun, make_shards
from support.slurm_cluster import MISSING, Cluster, running

pytestmark = [
    pytest.mark.slow(50),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Cluster]:
    home = tmp_path / "slurm"
    home.mkdir()
    with running(home, nodes=2) as cluster:
        yield cluster


def test_a_cancelled_run_saves_and_nothing_of_its_chain_begins_again(slurm: Cluster, tmp_path: Path) -> None:
    make_shards(tmp_path / "tokens")
    run = TinyRun.make(tmp_path, "run", dropout=0.1)
    profile = {
        "nodes": 1,
        "gpus_per_node": 0,
        "tasks_per_node": 1,
        "time": "10",
        "setup": [f'PATH="{Path(sys.executable).parent}:$PATH"'],
        "options": ["--dependency=singleton"],
    }
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(profile))
    longer = ["train.tokens=1_000_000", "parallel.pipeline_stages=1"]
    outbound(slurm, "submit", "train", run.written(), *longer, "--cluster", tmp_path / "cluster.yaml")
    first, second = chained(slurm, run.dir)
    patience.wait_until(lambda: attempts.numbers(run.dir) and run.losses(), "a step", 0.2)
    (seen,) = outbound(slurm, "status", run.dir)["directories"]
    assert [job["running"] for job in seen["jobs"]] == [1, 0]
    assert seen["jobs"][1]["waiting"] == {"Dependency": 1}
    assert [start["ended"] for start in seen["starts"]] == [None]

    assert outbound(slurm, "cancel", run.dir)["killed"] == 0
    patience.wait_until(lambda: not slurm.ask("squeue", "-h"), "an empty queue", 0.2)
    assert [slurm.job(job)["JobState"] for job in (first, second)] == ["CANCELLED", "CANCELLED"]
    (seen,) = outbound(slurm, "status", run.dir)["directories"]
    (start,) = seen["starts"]
    assert (start["job"], start["cause"], start["saved"]) == (first, "stopped as asked", max(run.losses()))
    assert seen["run"]["checkpoint"] == seen["run"]["step"] == start["saved"]
    names = [Path(log).name for log in outbound(slurm, "logs", run.dir)["logs"]]
    assert sorted(names) == [f"{first}.log", "log.txt"]


def chained(slurm: Cluster, run: Path) -> tuple[str, str]:
    """Let a second job wait for the end of a run's job, to go on from there; return the ids of both."""
    (submission,) = submissions.of_directory(run)
    (job,) = submission.jobs
    (script,) = submission.logs.glob("*.sbatch")
    submission.jobs.append(replace(job, id=slurm.ask("sbatch", "--parsable", str(script)).strip()))
    submissions.note(submission)
    return job.id, submission.jobs[1].id


def outbound(slurm: Cluster, *words: object) -> Any:
    """What a command gives to programs."""
    ended = subprocess.run(
        [Path(sys.executable).with_name("outbound"), *map(str, words), "--json"],
        env=slurm.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience.patient(),
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
