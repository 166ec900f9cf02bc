"""Training runs as jobs of a cluster, and what happens to their ranks."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import AttemptRecord
from pipeline.monitor.run_files import joined_metrics
from slurm import starts
from slurm.starts import Start
from support import desk
from support.finetuning import Tuning
from support.machines import Machine
from support.pages import REPOSITORY
from support.patience import wait_until
from support.runs import TinyRun, make_shards
from support.slurm_cluster import Cluster

ENDED = ("FAILED", "CANCELLED", "TIMEOUT", "COMPLETED", "NODE_FAIL", "PREEMPTED")


class Login:
    """A login node of a cluster, from which runs over the same tokens are submitted.

    Jobs find `support.workers.hindered_training` in place of `outbound`, which heeds what happens to them.
    """

    def __init__(self, home: Path, slurm: Cluster) -> None:
        self.home, self.slurm = home, slurm
        self.hindrances = home / "hindrances"
        for name in ("ranks", "kill"):
            (self.hindrances / name).mkdir(parents=True)
        make_shards(home / "tokens")
        hindered = home / "bin" / "outbound"
        hindered.parent.mkdir()
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        module = f'"{sys.executable}" -m support.workers.hindered_training'
        hindered.write_text(
            f'#!/bin/sh\nexec env PYTHONPATH="{path}" HINDRANCES="{self.hindrances}" {module} "$@"\n'
        )
        hindered.chmod(0o755)

    @property
    def _environment(self) -> dict[str, str]:
        return self.slurm.environment | {"XDG_STATE_HOME": str(self.home / "state")}

    def profile(self, nodes: int, tasks: int = 1, **keys: Any) -> Path:
        """Write a profile of jobs that train on so many nodes, with so many processes on each."""
        path = self.home / f"{nodes} nodes of {tasks}.yaml"
        setup = [f'PATH="{self.home / "bin"}:$PATH"']
        layout = {"nodes": nodes, "gpus_per_node": 0, "tasks_per_node": tasks}
        path.write_text(yaml.safe_dump({**layout, "time": "10", "setup": setup, **keys}))
        return path

    def refused(self, *words: object, code: int = 1) -> str:
        """Why a command is refused, which must end with this code."""
        ended = desk.run(self.home, self._environment, *words)
        assert ended.returncode == code, ended.stdout + ended.stderr
        return " ".join(ended.stderr.split())

    def submit(
        self, run: TinyRun | Tuning, profile: Path, *words: object, **environment: str
    ) -> list[TrainingJob]:
        """Submit a run, or a fine-tuning; return its jobs. words: settings and options."""
        command = "finetune" if isinstance(run, Tuning) else "train"
        train = ("submit", command, run.written(), "--cluster", profile, "--json")
        printed = json.loads(self.outbound(*train, *words, **environment))
        return [TrainingJob(run, self.slurm, number) for number in printed["jobs"]]

    def outbound(self, *words: object, **environment: str) -> str:
        """What a command prints; it must end well."""
        return desk.outbound(self.home, self._environment | environment, *words)

    @contextmanager
    def slow_steps(self) -> Iterator[None]:
        """Let each step take a while longer, so that a fault hits before a run is done."""
        (self.hindrances / "slow").touch()
        try:
            yield
        finally:
            (self.hindrances / "slow").unlink()

    @contextmanager
    def deadly(self, *nodes: str) -> Iterator[None]:
        """Let each rank die that starts on these nodes."""
        kills = [self.hindrances / "kill" / node for node in nodes]
        for kill in kills:
            kill.touch()
        try:
            yield
        finally:
            for kill in kills:
                kill.unlink()

    def rank(self, node: str) -> int:
        """The process of the rank that was the last to start on a node, by its number there."""
        return int((self.hindrances / "ranks" / node).read_text())

    def kill_rank(self, machine: Machine) -> None:
        """Kill the rank on a machine (SIGKILL), which must run."""
        os.kill(machine.processes()[self.rank(machine.name)], signal.SIGKILL)


@dataclass(frozen=True)
class TrainingJob:
    """A job that trains a run. number: Slurm's id."""

    run: TinyRun | Tuning
    slurm: Cluster
    number: str

    def told(self) -> dict[str, str]:
        """What the controller says of it."""
        return self.slurm.job(self.number)

    def nodes(self) -> list[str]:
        """Those it runs on, the first first."""
        return self.slurm.ask("scontrol", "show", "hostnames", self.told()["NodeList"]).split()

    def rows(self, number: int) -> list[dict[str, Any]]:
        """The steps of a start of the run, as far as they count."""
        if not attempts.numbers(self.run.dir):
            return []
        return [row for row in joined_metrics(self.run.dir) if row["attempt"] == number and "loss" in row]

    def wait_for_start(self, number: int, steps: int = 1) -> AttemptRecord:
        """Return when the start of that number has taken so many steps, while the job lives."""

        def taken() -> bool:
            told = self.told()
            assert told["JobState"] not in ENDED, (told, self.log())
            return len(self.rows(number)) >= steps

        wait_until(taken, f"step {steps} of start {number} of job {self.number}", 0.2)
        return attempts.read(self.run.dir, number)

    def wait_until_queued_again(self, times: int) -> None:
        def queued() -> bool:
            told = self.told()
            assert told["JobState"] not in ENDED, (told, self.log())
            return told["JobState"] == "PENDING" and told["Restarts"] == str(times)

        wait_until(queued, f"job {self.number} queued again, {times} times", 0.2)

    def wait_until_ended(self, state: str = "COMPLETED") -> None:
        """Return when it has ended, which must be so."""
        wait_until(lambda: self.told()["JobState"] in ENDED, f"the end of job {self.number}", 0.2)
        assert self.told()["JobState"] == state, (self.told(), self.log())

    def starts(self) -> list[Start]:
        """The starts of its submission, as they were noted."""
        (logs,) = {path.parent for path in self.run.dir.glob(f"logs/*/{self.number}.log")}
        return starts.starts(logs)

    def log(self) -> str:
        """What it has printed."""
        return "".join(path.read_text() for path in self.run.dir.glob(f"logs/*/{self.number}.log"))
