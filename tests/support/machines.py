"""Machines on this one: namespaces with processes, a host name, mounts and a network of their own.

A machine can be cut off from the network and lose its power, after which none of its processes lives.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.patience import patient, wait_until

MOST = 250


def why_not() -> str:
    """Why this machine can hold no others, "" if it can."""
    missing = [name for name in ("ip", "nsenter", "unshare") if not shutil.which(name)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    tried = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "true"]
    may = subprocess.run(tried, capture_output=True, check=False).returncode == 0
    return "" if may else "may make no namespaces, which root may"


@dataclass(frozen=True)
class Switch:
    """A network that joins machines with this one; `number` is that of the switch among those here."""

    number: int

    @property
    def name(self) -> str:
        return f"test{self.number}"

    def address(self, machine: int = 1) -> str:
        """The address of a machine; that of this one is 1."""
        return f"10.99.{self.number}.{machine}"


@contextmanager
def switch() -> Iterator[Switch]:
    """A switch with a name that no other has."""
    number = next(n for n in range(1, MOST) if not Path(f"/sys/class/net/test{n}").exists())
    made = Switch(number)
    _ip("link", "add", made.name, "type", "bridge")
    try:
        _ip("addr", "add", f"{made.address()}/24", "dev", made.name)
        _ip("link", "set", made.name, "up")
        yield made
    finally:
        _ip("link", "del", made.name)


@dataclass
class Machine:
    """A machine. wire: its end of the network here. command: what it runs while it has power."""

    name: str
    address: str
    wire: str
    command: Sequence[str | Path]
    _power: subprocess.Popen[bytes] | None = None

    def power_on(self) -> None:
        self.heal()
        # The shell stays as the first process, which the kernel wants to reap orphans.
        script = 'hostname "$0" && { "$@" & wait "$!"; }'
        self._power = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{self.wire}"),
                *("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
                *("sh", "-c", script, self.name, *self.command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def power_off(self) -> None:
        """Its network is gone first, so that none of its connections is closed."""
        self.cut()
        if self._power:
            self._power.kill()
            self._power.wait(patient())

    @property
    def first(self) -> int:
        """The number here of the process that is number 1 in there."""
        assert self._power
        children = Path(f"/proc/{self._power.pid}/task/{self._power.pid}/children")
        wait_until(lambda: children.read_text().split(), f"the first process of {self.name}")
        return int(children.read_text().split()[0])

    def processes(self) -> dict[int, int]:
        """The numbers of all its processes here, by their numbers in there."""
        found, own = {}, os.readlink(f"/proc/{self.first}/ns/pid")
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(process / "ns" / "pid") == own:
                    status = (process / "status").read_text()
                    (numbers,) = (line for line in status.splitlines() if line.startswith("NSpid:"))
                    found[int(numbers.split()[-1])] = int(process.name)
        return found

    def family(self, number: int) -> list[int]:
        """The numbers here of a process, known by its number in there, and of all that it has started."""
        family = [self.processes()[number]]
        for member in family:
            for task in Path(f"/proc/{member}/task").glob("*/children"):
                family += map(int, task.read_text().split())
        return family

    def suspend(self, number: int) -> None:
        """Let a process and all that it has started hang, as one whose disk does not answer."""
        self._signal(number, signal.SIGSTOP)

    def resume(self, number: int) -> None:
        self._signal(number, signal.SIGCONT)

    def _signal(self, number: int, what: signal.Signals) -> None:
        process, *children = self.family(number)
        os.kill(process, what)
        for child in children:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(child, what)

    def is_stopped(self, number: int) -> bool:
        """Whether a process is stopped, by whomever."""
        stat = Path(f"/proc/{self.processes()[number]}/stat").read_text()
        return stat.rpartition(") ")[2].startswith("T")

    def cut(self) -> None:
        """Cut it off from the network."""
        _ip("link", "set", self.wire, "down")

    def heal(self) -> None:
        """Join it with the network again."""
        _ip("link", "set", self.wire, "up")

    @property
    def is_cut(self) -> bool:
        return Path(f"/sys/class/net/{self.wire}/operstate").read_text().strip() == "down"

    def fill(self, directory: Path, room: Path) -> None:
        """Let a directory be on a full disk, for it alone: it reads what others write, and writes nothing.

        room: an empty directory that nobody else uses.
        """
        upper, work = room / "upper", room / "work"
        self.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(room))
        self.run("mkdir", str(upper), str(work))
        self.run("sh", "-c", 'cat /dev/zero >"$0/filler" 2>&- || :', str(room))
        layers = f"lowerdir={directory},upperdir={upper},workdir={work}"
        self.run("mount", "-t", "overlay", "-o", layers, "overlay", str(directory))

    def clear(self, directory: Path, room: Path) -> None:
        """Undo `fill`."""
        self.run("umount", str(directory), str(room))

    def run(self, *command: str) -> None:
        """Run a command that sees its files."""
        _run("nsenter", f"--target={self.first}", "--mount", "--pid", *command)


@contextmanager
def machine(network: Switch, number: int, name: str, command: Sequence[str | Path]) -> Iterator[Machine]:
    """A machine that runs a command; `number` is that of the machine on its network, from 2 on."""
    made = Machine(name, network.address(number), f"{network.name}-{number}", command)
    _ip("netns", "add", made.wire)
    try:
        _ip("link", "add", made.wire, "type", "veth", "peer", "name", "eth0", "netns", made.wire)
        _ip("link", "set", made.wire, "master", network.name)
        _ip("-n", made.wire, "addr", "add", f"{made.address}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            _ip("-n", made.wire, "link", "set", interface, "up")
        try:
            made.power_on()
            yield made
        finally:
            made.power_off()
    finally:
        _ip("netns", "del", made.wire)  # and its wire with it


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patient())
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
