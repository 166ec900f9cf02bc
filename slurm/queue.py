"""Slurm's commands: hand a script over, look at the queue, stop jobs. Nothing here needs accounting."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slurm.submissions import Job

ANSWER_S = 10.0
"""`squeue` gives up on a controller that is down after nine seconds; after so many, we do."""
POLL_S = 1.0

_OUTER = re.compile(
    r"(SLURMD?|SBATCH|SRUN|SQUEUE|SCANCEL|TORCHELASTIC|MASTER|OMPI)_.*|PMI.*|(LOCAL_)?RANK|(LOCAL_)?WORLD_SIZE"
    r"|(CUDA|ROCR)_VISIBLE_DEVICES|OUTBOUND_(LOG|ENDS|GPUS_PER_NODE)"
)
_KEPT = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"}
"""How commands find the cluster, and who we are there."""
_NO_CLUSTER = "Could not establish a configuration source"
_FACT = re.compile(r"(\w+)=(\S*)")
_ENDED = re.compile("Invalid job id specified|Job/step already completing or completed")


class SlurmError(RuntimeError):
    """Slurm refused, or cannot be asked; the message names the command and Slurm's reason."""


@dataclass(frozen=True)
class Queued:
    """One task in the queue. job: the id of the job or array. task: `job`, or "813_4" in an array."""

    job: str
    task: str
    state: str
    reason: str


def environment() -> dict[str, str]:
    """Our environment without the variables of a job that we may run in.

    They would become options of the job that is submitted, and the ranks and devices of its processes. The
    TMPDIR of a job is often a folder that ends with it.
    """
    dropped = {"TMPDIR"} if "SLURM_JOB_ID" in os.environ else set()
    return {
        key: value
        for key, value in os.environ.items()
        if key in _KEPT or not (key in dropped or _OUTER.fullmatch(key))
    }


def sbatch(script: str) -> str:
    """Submit a script; returns the job's id. Raises SlurmError with Slurm's reason."""
    printed = _ask(["sbatch", "--parsable"], script, timeout_s=None)
    return printed.strip().partition(";")[0]  # "id" or "id;cluster"


def squeue(jobs: Sequence[Job]) -> list[Queued]:
    """Those tasks of some jobs that wait or run. Raises SlurmError when the controller does not answer.

    Slurm numbers from 1 again when it has lost its state: a job of another name is another's.
    """
    names = {job.id: job.name for job in jobs}
    if not names:
        return []
    words = ["squeue", "-h", "-r", "-j", ",".join(names), "-o", "%i|%j|%T|%r"]
    found = []
    for line in _ask(words, timeout_s=ANSWER_S).splitlines():
        task, name, state, reason = line.split("|", 3)  # sites write reasons of their own
        job = task.partition("_")[0]
        if names.get(job) == name:
            found.append(Queued(job, task, state, reason))
    return found


def stop(jobs: Sequence[Job], batch: bool, wait_s: float, tell: Callable[[int], None]) -> int:
    """End jobs well: signal their work to stop, wait for it, and cancel what is left after `wait_s` seconds.

    batch: the script of a job gets the signal, and not the processes that srun started. tell: is called with
    the number of tasks that still run. Returns how many tasks were cancelled while they ran.
    """
    if not jobs:
        return 0
    ids = [job.id for job in jobs]
    deadline = time.monotonic() + wait_s
    while True:
        _scancel(["--state=PENDING"], ids)  # those that stopped have queued themselves again
        # In each turn, for tasks that have started since; those that are stopping heed it no more.
        _scancel(["--signal=USR1", "--state=RUNNING", *(["--batch"] if batch else [])], ids)
        left = [task for task in squeue(jobs) if task.state not in ("PENDING", "COMPLETING")]
        if left:
            tell(len(left))
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    _scancel([], ids)
    if squeue(jobs):
        time.sleep(POLL_S)
        _scancel([], ids)  # a task that was completing may have queued itself again
    return len(left)


def make_way(jobs: Sequence[Job]) -> list[str]:
    """Let jobs go for others that do the same: cancel those that wait, and let those that run save and end.

    Does not wait for their end. Returns the ids of those that were in the queue.
    """
    found = squeue(jobs)
    running = [task.job for task in found if task.state == "RUNNING"]
    cancel([task.job for task in found if task.state != "RUNNING"])
    if running:
        _scancel(["--signal=USR1", "--state=RUNNING"], running)
        _scancel(["--state=PENDING"], running)  # one may have queued itself again just before
    return [task.job for task in found]


def facts(job: str) -> dict[str, str]:
    """What the controller has of a job, such as JobState, Restarts, Partition and ExcNodeList.

    Raises SlurmError when it has lost the job.
    """
    found = dict(_FACT.findall(_ask(["scontrol", "show", "job", "-o", job], timeout_s=2 * ANSWER_S)))
    if not found:
        raise SlurmError(f"Slurm does not know job {job} any more")
    return found


def requeue(job: str) -> None:
    """Let a job wait for another start. Raises SlurmError where the site forbids it."""
    _ask(["scontrol", "requeue", job], timeout_s=2 * ANSWER_S)


def leave_out(jobs: Sequence[str], nodes: Sequence[str]) -> None:
    """Let jobs that wait start on other nodes. Raises SlurmError when Slurm has too few others."""
    for job in jobs:
        known = facts(job)
        others = _hostnames(known.get("ExcNodeList", "(null)"))
        spare = _nodes_of(known["Partition"]) - {*others, *nodes}
        needed = int(known["NumNodes"].partition("-")[0])
        if len(spare) < needed:
            raise SlurmError(
                f"job {job} cannot leave out {', '.join(nodes)}: it needs {needed} nodes, and partition "
                f"{known['Partition']} has {len(spare)} others"
            )
        left = ",".join(sorted({*others, *nodes}))
        _ask(["scontrol", "update", f"JobId={job}", f"ExcNodeList={left}"], timeout_s=2 * ANSWER_S)


def out_of_work(nodes: str) -> list[str]:
    """Those of a list of nodes that are down or do not answer."""
    states = "down,drain,fail,no_respond"
    found = _ask(["sinfo", "-h", "-N", "-n", nodes, "-t", states, "-o", "%N"], timeout_s=ANSWER_S)
    return [*dict.fromkeys(found.split())]  # it names a node once for each of its partitions


def _hostnames(nodes: str) -> list[str]:
    if nodes in ("", "(null)"):
        return []
    return _ask(["scontrol", "show", "hostnames", nodes], timeout_s=2 * ANSWER_S).split()


def _nodes_of(partition: str) -> set[str]:
    return {*_ask(["sinfo", "-h", "-N", "-p", partition, "-o", "%N"], timeout_s=ANSWER_S).split()}


def cancel(jobs: Sequence[str]) -> None:
    """End jobs at once."""
    if jobs:
        _scancel([], jobs)


def _scancel(options: list[str], jobs: Sequence[str]) -> None:
    _ask(["scancel", *options, *jobs], timeout_s=3 * ANSWER_S)


def _ask(command: list[str], script: str | None = None, *, timeout_s: float | None) -> str:
    """What one of Slurm's commands prints; that it does not know a job any more is no error."""
    name = command[0]
    try:
        done = subprocess.run(
            command,
            input=script,
            stdin=subprocess.DEVNULL if script is None else None,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except FileNotFoundError:
        raise SlurmError(f"{name} is not on this machine: use a login node of the cluster") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{name}: Slurm's controller has not answered within {timeout_s:.0f} s") from None
    if done.returncode and _NO_CLUSTER in done.stderr:
        raise SlurmError(
            f"no cluster here: {name} finds no configuration of Slurm on this machine; use a login node of "
            "the cluster, or set SLURM_CONF to its slurm.conf"
        )
    printed = done.stderr.splitlines() or [f"exit code {done.returncode}"]
    if done.returncode and (reasons := [line.strip() for line in printed if not _ENDED.search(line)]):
        raise SlurmError(f"{name}: {' '.join(reasons)}")
    return done.stdout
