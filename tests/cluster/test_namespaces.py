"""Workers on machines without Slurm: four namespaces with a host name and processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataprep.store.workers import all_workers
from support import fetched_corpus
from support.cli import result
from support.fetched_corpus import files
from support.patience import patient

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"

pytestmark = [
    pytest.mark.slow(30),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root, and unshare"),
]


def test_the_workers_of_the_documented_job_make_what_one_command_makes(tmp_path: Path) -> None:
    fetched_corpus.make(tmp_path)
    corpus = tmp_path / "corpus"
    job = yaml.safe_load(PAGE.read_text().partition("```yaml\n")[2].partition("```")[0])
    pods = job["spec"]["completions"]
    workers = [start(f"node{number}", container(job), corpus) for number in range(pods)]
    for worker in workers:
        out, err = worker.communicate(timeout=patient())
        assert worker.returncode == 0, out + err
    assert {worker.host for worker in all_workers(corpus)} == {"node0", "node1", "node2", "node3"}
    assert files(corpus) == files(tmp_path / "whole")
    assert result("corpus", "verify", corpus)["problems"] == []


def container(job: Any) -> list[str]:
    """The command of a Job's only container."""
    spec = job["spec"]["template"]["spec"]
    (worker,) = spec["containers"]
    return list(worker["command"])


def start(host: str, command: list[str], corpus: Path) -> subprocess.Popen[str]:
    """Run the command on a machine of its own, as far as it can tell."""
    outbound, *words = [str(corpus) if word == "/shared/mine" else word for word in command]
    assert outbound == "outbound"
    script = 'hostname "$0" && exec "$@"'
    inside = ["sh", "-c", script, host, sys.executable, "-m", "pipeline.cli.main", *words]
    return subprocess.Popen(
        ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", *inside],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
