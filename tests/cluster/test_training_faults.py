"""Training on a real Slurm whose nodes are machines of their own, and what happens to such machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import AttemptRecord
from pipeline.checkpoint.format import newest
from slurm.codes import BAD_NODE_EXIT, RESUME_EXIT, USAGE_EXIT
from slurm.starts import AGAIN, GIVEN_UP
from support.machines import Machine, why_not
from support.patience import wait_until
from support.runs import TinyRun
from support.slurm_cluster import MISSING, Cluster, running
from support.training_jobs import Login, TrainingJob

NODES = 4
SETTINGS = """AuthInfo=cred_expire=5
SlurmdTimeout=10
KillWait=30
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
"""
"""What was stopped begins again after six seconds, and a lost node is noticed after half a minute."""
LONGER = ("train.tokens=38_400", "train.eval_every_steps=20")

pytestmark = [
    pytest.mark.slow(300),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("slurm"), NODES, SETTINGS, apart=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory, slurm: Cluster) -> Login:
    return Login(tmp_path_factory.mktemp("login"), slurm)


@dataclass
class Faults:
    """Faults that happen to a job, each to another start; the seconds that each has cost are printed."""

    job: TrainingJob
    terminal: pytest.CaptureFixture[str]
    starts: int = 0

    @contextmanager
    def one(self, name: str) -> Iterator[AttemptRecord]:
        """Let it happen to the newest start, once that has saved; return at the first step of the next."""
        self.starts += 1
        start = self.job.wait_for_start(self.starts, steps=5)  # one in four is saved
        began = time.time()
        yield start
        self.job.wait_for_start(self.starts + 1)
        seconds = self.job.rows(self.starts + 1)[0]["time"] - began
        with self.terminal.disabled():
            print(f"\n{name}: {seconds:.0f} s from the fault to the next step", end="", flush=True)


def test_one_run_goes_through_every_fault_to_the_last_digit(
    login: Login, slurm: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = TinyRun.make(login.home, "unbroken", dropout=0.1)
    unbroken.train(*LONGER)
    run = TinyRun.make(login.home, "broken", dropout=0.1)
    (job,) = login.submit(run, login.profile(nodes=2, env={"GLOO_SOCKET_IFNAME": "eth0"}), *LONGER)
    faults = Faults(job, capsys)
    with login.slow_steps():
        with faults.one("USR1"):
            slurm.ask("scancel", "--signal=USR1", job.number)  # what Slurm sends before the time limit
            job.wait_until_queued_again(1)
            assert code(run, 1) == RESUME_EXIT

        with faults.one("scontrol requeue, the newest checkpoint damaged meanwhile"):
            slurm.ask("scontrol", "requeue", job.number)
            job.wait_until_queued_again(2)
            wait_until(lambda: slurm.idle_nodes() == NODES, "the end of what Slurm has stopped")
            damaged = damage(run)
            assert attempts.numbers(run.dir) == [1, 2]
        assert 0 < origin(run, 3) < damaged

        with faults.one("kill -9 of a rank"):
            killed = job.nodes()[1]
            login.kill_rank(slurm.machines[killed])
            job.wait_until_queued_again(3)

        with faults.one("power off"):
            first = job.nodes()[0]
            slurm.machines[first].power_off()
            job.wait_until_queued_again(4)
            assert state(slurm, first).startswith("DOWN")
            assert code(run, 4) is None
        slurm.machines[first].power_on()

        with faults.one("cut from the network") as start:
            cut = slurm.machines[job.nodes()[0]]
            assert start.host == cut.name
            cut.cut()
            cut.suspend(start.pid)
            job.wait_until_queued_again(5)
            assert state(slurm, cut.name).startswith("DOWN")
        old = cut.processes()[start.pid]
        cut.resume(start.pid)
        cut.heal()
        wait_until(lambda: not Path(f"/proc/{old}").exists(), "the end of the rank that was cut off")
        wait_until(lambda: state(slurm, cut.name).startswith("IDLE"), "the node that was cut off")
        assert job.told()["Restarts"] == "5"

        slurm.kill_controller()
        step = last(job, 6)
        wait_until(lambda: last(job, 6) > step, "a step without a controller")
        slurm.start_controller()
        wait_until(slurm.idle_nodes, "the controller")
        job.wait_for_start(6, len(job.rows(6)) + 5)
        assert job.told()["Restarts"] == "5"

        with faults.one("preemption"):
            words = ("--parsable", "--partition=urgent", "--nodes=2", f"--nodelist={job.told()['NodeList']}")
            urgent = slurm.ask("sbatch", *words, "--output=/dev/null", "--wrap=sleep 1").strip()
            job.wait_until_queued_again(6)
            assert slurm.job(urgent)["JobState"] in ("RUNNING", "COMPLETED")
            assert code(run, 6) == RESUME_EXIT
    job.wait_until_ended()
    assert run.timeless() == unbroken.timeless()
    assert attempts.numbers(run.dir) == [1, 2, 3, 4, 5, 6, 7]
    found = job.starts()
    assert [start.code for start in found] == [75, 75, 137, None, None, 75, 0]
    assert [start.node for start in found if start.node] == [killed]
    assert found[2].cause == f"rank 1 on {killed} was killed by SIGKILL: kill -9, or out of memory"
    assert [found[number].cause for number in (3, 4)] == [
        f"lost with its nodes that do not answer: {node}" for node in (first, cut.name)
    ]


def test_three_starts_without_progress_end_the_job_with_their_causes(login: Login, slurm: Cluster) -> None:
    run = TinyRun.make(login.home, "futile")
    with login.deadly(*slurm.machines):
        (job,) = login.submit(run, login.profile(nodes=2))
        job.wait_until_ended("FAILED")
    started = job.starts()
    assert [start.next for start in started[:2]] == [AGAIN] * 2
    assert started[2].next.startswith(f"{GIVEN_UP}: 3 starts without a new checkpoint")
    assert started[2].next.count("was killed by SIGKILL") == 3
    assert started[2].next in job.log()
    assert job.told()["Restarts"] == "2"


def test_a_node_on_which_ranks_died_twice_is_left_out(login: Login) -> None:
    run = TinyRun.make(login.home, "elsewhere")
    with login.deadly("node0"):  # which Slurm takes first
        (job,) = login.submit(run, login.profile(nodes=2))
        job.wait_until_ended()
    assert [start.node for start in job.starts()] == ["node0", "node0", ""]
    assert job.told()["ExcNodeList"] == "node0"
    assert "node0" not in job.nodes()
    assert max(run.losses()) == run.summary()["steps"]


def test_a_node_that_lost_the_shared_directory_is_left_out(login: Login, slurm: Cluster) -> None:
    run = TinyRun.make(login.home, "blind")
    run.dir.mkdir()
    with mounted(slurm.machines["node1"], run.dir):  # Slurm takes the first two
        (job,) = login.submit(run, login.profile(nodes=2))
        job.wait_until_ended()
    first, last = job.starts()
    assert "node1: no " in first.cause
    assert first.left_out == ["node1"]
    assert (last.code, last.number) == (0, 2)
    assert "node1" not in job.nodes()


def test_a_node_with_a_full_disk_is_left_out_and_where_all_are_full_the_job_ends(
    login: Login, slurm: Cluster
) -> None:
    small = login.home / "small"
    small.mkdir()
    profile = login.profile(nodes=2, env={"TMPDIR": str(small)})
    hopeless, run = (TinyRun.make(login.home, name) for name in ("full", "one is full"))
    with mounted(slurm.machines["node0"], small):
        with mounted(slurm.machines["node1"], small):
            (job,) = login.submit(hopeless, profile)
            job.wait_until_ended("FAILED")
            (start,) = job.starts()
            assert start.code == USAGE_EXIT
            assert "all nodes of this job are bad: node0: " in start.cause
        (job,) = login.submit(run, profile)
        job.wait_until_ended()
    first, last = job.starts()
    assert (first.code, first.left_out, last.code) == (BAD_NODE_EXIT, ["node0"], 0)
    assert "MB are free in its TMPDIR" in first.cause


@contextmanager
def mounted(machine: Machine, directory: Path) -> Iterator[None]:
    """Hide a directory from one machine, below a disk of 64 MB."""
    machine.run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(directory))
    try:
        yield
    finally:
        machine.run("umount", str(directory))


def code(run: TinyRun, start: int) -> int | None:
    """The code with which a start ended, by its own account; None when it was killed, or has not ended."""
    ended = attempts.read(run.dir, start).ended
    return ended.code if ended else None


def origin(run: TinyRun, start: int) -> int:
    """The step of the checkpoint that a start has resumed from."""
    found = attempts.read(run.dir, start).origin
    assert found is not None
    return found.step


def last(job: TrainingJob, start: int) -> int:
    """The last step that a start has taken."""
    step: int = job.rows(start)[-1]["step"]
    return step


def damage(run: TinyRun) -> int:
    """Alter a byte of the newest checkpoint; return its step."""
    checkpoint = next(newest(run.dir))
    share = checkpoint / "rank-00001.safetensors"
    content = bytearray(share.read_bytes())
    content[-100] ^= 1
    share.write_bytes(content)
    return int(checkpoint.name.removeprefix("step-"))


def state(slurm: Cluster, node: str) -> str:
    """What Slurm takes a node for, such as "DOWN*"."""
    return dict(
        word.split("=", 1) for word in slurm.ask("scontrol", "show", "node", node).split() if "=" in word
    )["State"]
