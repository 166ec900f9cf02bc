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
from dataclasses import dataclass, field
from pathlib import Path

from support.machines import Machine, machine, switch
from support.patience import patient, wait_until

KILL_WAIT_S = 5
"""From the signal that ends a job until it is killed."""
LOOPBACK = "127.0.0.1"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

MISSING = [name for name in ("slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=PATH)]
"""What is not installed; Debian has it in slurmctld, slurmd and slurm-client."""


@dataclass
class Cluster:
    """Slurm's own commands, asked of this cluster. machines: its nodes by name, where each is one."""

    home: Path
    environment: dict[str, str]
    machines: dict[str, Machine] = field(default_factory=dict)
    _controller: subprocess.Popen[bytes] | None = None

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

    def start_controller(self) -> None:
        """It goes on from the state that it has saved."""
        self._controller = _start(_daemon(self.home, "slurmctld"))

    def kill_controller(self) -> None:
        """Kill the controller (SIGKILL), which must be running, once it has saved which jobs run."""
        now, state = time.time(), self.home / "state" / "job_state"
        for job in self.ask("squeue", "-h", "-o", "%A").split():
            self.ask("scontrol", "update", f"JobId={job}", "Comment=saved")  # which makes it save
        wait_until(lambda: state.stat().st_mtime > now, "the state of all jobs saved", 0.2)
        assert self._controller
        assert self._controller.poll() is None
        self._controller.kill()
        self._controller.wait(patient())

    def end_controller(self) -> None:
        if self._controller:
            _end(self._controller)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=patient()
        )


@contextmanager
def running(home: Path, nodes: int = 3, settings: str = "", apart: bool = False) -> Iterator[Cluster]:
    """Start the daemons, whose files go to an empty directory; wait for the nodes; end the daemons.

    nodes: of two processors each, and of a GPU that is none. settings: further lines of slurm.conf. apart:
    nodes are machines of their own, which `support.machines` can make.
    """
    with ExitStack() as held:
        controller, *ports = (_free_port(held) for _ in range(1 + nodes))
    names = [f"node{number}" for number in range(nodes)]
    # Nodes make sockets in their spool, whose paths may have 108 letters: those of pytest are too long.
    spool = Path(tempfile.mkdtemp(prefix="slurm-"))
    for directory in (home / "state", *(spool / name for name in names)):
        directory.mkdir(parents=True)
    cluster = Cluster(home, os.environ | {"SLURM_CONF": str(home / "slurm.conf")})
    with ExitStack() as started:
        started.callback(shutil.rmtree, spool, ignore_errors=True)
        network = started.enter_context(switch()) if apart else None
        here = network.address() if network else LOOPBACK
        nodes_at = [network.address(2 + number) if network else LOOPBACK for number in range(nodes)]
        told = _configuration(home, spool, (here, controller), [*zip(names, nodes_at, ports, strict=True)])
        (home / "slurm.conf").write_text(told + settings)
        (home / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # it is loaded, and asked for nothing
        (home / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        cluster.start_controller()
        started.callback(cluster.end_controller)
        for number, name in enumerate(names):
            daemon = _daemon(home, "slurmd", "-N", name)
            if network:
                cluster.machines[name] = started.enter_context(machine(network, 2 + number, name, daemon))
            else:
                started.callback(_end, _start(daemon))
        started.callback(cluster.cancel_all)
        wait_until(lambda: cluster.idle_nodes() == nodes, f"{nodes} idle nodes, see {home}/*.log", 0.2)
        yield cluster


def _configuration(
    home: Path, spool: Path, controller: tuple[str, int], nodes: list[tuple[str, str, int]]
) -> str:
    """Of a controller, by address and port, and of nodes, by name, address and port."""
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    told = "".join(
        f"NodeName={name} NodeHostname={host} NodeAddr={address} Port={port} CPUs=2 Gres=gpu:1\n"
        for name, address, port in nodes
    )
    return f"""ClusterName=test
SlurmctldHost={host}({controller[0]})
SlurmctldPort={controller[1]}
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
GresTypes=gpu
{told}PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _daemon(home: Path, name: str, *options: str) -> list[str | Path]:
    """Its command."""
    return [shutil.which(name, path=PATH) or name, "-D", "-f", home / "slurm.conf", *options]


def _start(daemon: list[str | Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(daemon, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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
