"""`outbound submit train` of a run that trains already, on a real Slurm: refused, or taken over."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.checkpoint import attempts
from slurm.codes import RESUME_EXIT, SUPERSEDED_EXIT
from support.patience import wait_until
from support.runs import TinyRun, make_shards
from support.slurm_cluster import MISSING, Cluster, running

OUTBOUND = Path(sys.executable).with_name("outbound")

pytestmark = [
    pytest.mark.slow(60),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Cluster]:
    (home := tmp_path / "slurm").mkdir()
    with running(home, nodes=2) as cluster:
        yield cluster


def test_a_new_job_takes_over_and_the_old_one_saves_and_is_not_queued_again(
    slurm: Cluster, tmp_path: Path
) -> None:
    make_shards(tmp_path / "tokens")
    run = TinyRun.make(tmp_path)
    run.settings["parallel"]["pipeline_stages"] = 1
    run.settings["train"] |= {"tokens": 1_600_000, "checkpoint_every_steps": 1000}
    profile = {"time": "10", "nodes": 1, "gpus_per_node": 0, "tasks_per_node": 1}
    setup = [f'PATH="{OUTBOUND.parent}:$PATH"']
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**profile, "setup": setup}))

    def submit(*words: str, code: int = 0) -> Any:
        typed = [OUTBOUND, "submit", "train", run.written(), *words, "--cluster", "cluster.yaml", "--json"]
        told = subprocess.run(
            typed, cwd=tmp_path, env=slurm.environment, capture_output=True, text=True, check=False
        )
        assert told.returncode == code, told.stderr
        return json.loads(told.stdout) if code == 0 else told.stderr

    def steps_of(number: int) -> list[str]:
        rows = attempts.folder(run.dir, number) / "metrics.jsonl"
        return rows.read_text().splitlines() if rows.exists() else []

    (old,) = submit()["jobs"]
    wait_until(lambda: len(steps_of(1)) > 4, "the first steps", 0.2)
    assert f"job {old} is in the queue already" in submit(code=1)
    taken = submit("--take-over")
    (new,) = taken["jobs"]
    assert taken["taken_over"] == [old]
    wait_until(lambda: slurm.job(old)["JobState"] not in ("RUNNING", "COMPLETING"), "its end", 0.2)
    wait_until(lambda: len(steps_of(2)) > 4, "the first steps of the new job", 0.2)
    assert (slurm.job(old)["JobState"], slurm.job(old)["Restarts"]) == ("FAILED", "0")
    assert slurm.job(new)["JobState"] == "RUNNING"
    first, second = (attempts.read(run.dir, number) for number in (1, 2))
    assert (first.job, second.job) == (old, new)
    assert first.ended is not None
    assert first.ended.code in (RESUME_EXIT, SUPERSEDED_EXIT)
    assert second.origin is not None
    if first.ended.code == RESUME_EXIT:  # it was faster than the start of the new one
        assert second.origin.step == first.ended.step
    assert [*run.losses()] == [*range(1, max(run.losses()) + 1)]
