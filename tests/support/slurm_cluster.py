"""A real Slurm on this machine: a controller and a few nodes, in a directory of their own, without munge."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.patience import patient, wait_until

KILL_WAIT_S = 5
"""From the signal that ends a job until it is killed."""
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

MISSING = [name for name in ("slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=PATH)]
"""What is not installed; Debian has it in slurmctld, slurmd and slurm-client."""


@dataclass(frozen=True)
class Cluster:
    """Slurm's own commands, asked of this cluster."""

    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """What a command prints; it must end well."""
        done = self._run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def idle_nodes(self) -> int:
        """0 while the controller does not answer."""
        return int(self._run("sinfo", "-h", "-t", "idle", "-o", "%D").stdout.strip() or 0)

    def cancel_all(self) -> None:
        """Returns when no job runs, or has had the time to end in."""
        self._run("scancel", "--user", getpass.getuser())
        deadline = time.monotonic() + patient(KILL_WAIT_S + 5)
        while self._run("squeue", "-h").stdout and time.monotonic() < deadline:
            time.sleep(0.2)

    def job(self, number: str) -> dict[str, str]:
        """What the controller says of a job."""
        words = self.ask("scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def start_again(self, number: str) -> None:
        """Begin a job that was queued again now: else it waits until its credentials expire, two minutes.

        No sooner than the srun of its last start is gone, which would end the step of the same number.
        """
        time.sleep(patient(KILL_WAIT_S + 3))
        self.ask("scontrol", "update", f"JobId={number}", "StartTime=now")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=patient()
        )


@contextmanager
def running(home: Path, nodes: int = 3, settings: str = "") -> Iterator[Cluster]:
    """Start the daemons, whose files go to an empty directory; wait for the nodes; end the daemons.

    nodes: of one processor each. settings: further lines of slurm.conf.
    """
    with ExitStack() as held:
        controller, *ports = (_free_port(held) for _ in range(1 + nodes))
    names = [f"node{number}" for number in range(nodes)]
    # Nodes make sockets in their spool, whose paths may have 108 letters: those of pytest are too long.
    spool = Path(tempfile.mkdtemp(prefix="slurm-"))
    told = _configuration(home, spool, controller, dict(zip(names, ports, strict=True)))
    (home / "slurm.conf").write_text(told + settings)
    (home / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # it is loaded, and asked for nothing
    for directory in (home / "state", *(spool / name for name in names)):
        directory.mkdir(parents=True)
    cluster = Cluster(os.environ | {"SLURM_CONF": str(home / "slurm.conf")})
    with ExitStack() as started:
        started.callback(shutil.rmtree, spool, ignore_errors=True)
        for daemon in (["slurmctld"], *(["slurmd", "-N", name] for name in names)):
            started.callback(_end, _start(home, *daemon))
        started.callback(cluster.cancel_all)
        wait_until(lambda: cluster.idle_nodes() == nodes, f"{nodes} idle nodes, see {home}/*.log", 0.2)
        yield cluster


def _configuration(home: Path, spool: Path, controller: int, nodes: dict[str, int]) -> str:
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    told = "".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1\n"
        for name, port in nodes.items()
    )
    return f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={home}/state
SlurmdSpoolDir={spool}/%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/linear
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
KillWait={KILL_WAIT_S}
{told}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _start(home: Path, daemon: str, *options: str) -> subprocess.Popen[bytes]:
    command = [shutil.which(daemon, path=PATH) or daemon, "-D", "-f", home / "slurm.conf", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=patient())
    except subprocess.TimeoutExpired:
        daemon.kill()


def _free_port(held: ExitStack) -> int:
    """Held until all have one."""
    probe = held.enter_context(socket.socket())
    probe.bind(("127.0.0.1", 0))
    port: int = probe.getsockname()[1]
    return port
