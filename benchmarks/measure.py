"""How every benchmark measures: a whole process on one core, by what the kernel says that it used."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What a process and its children took: seconds of CPU and of wall time, peak memory, what it printed."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    said: str


def run(command: Sequence[str | Path], core: int = -1) -> Run:
    """Run a command on one of the cores that we may use, start-up included; raises SystemExit if it fails."""
    cores = {sorted(os.sched_getaffinity(0))[core]}
    begun = time.monotonic()
    with subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    ) as process:
        assert process.stdout
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: exit code {process.returncode} after {said!r}")
    return Run(used.ru_utime + used.ru_stime, time.monotonic() - begun, used.ru_maxrss * 1024, said)


def high_water() -> int:
    """The largest resident memory of this process so far, in bytes; getrusage would tell its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


def middle(runs: Sequence[Run], field: str) -> float:
    """The median of one field over some runs."""
    return statistics.median(getattr(each, field) for each in runs)


def peer_python(directory: Path, requirements: Sequence[str]) -> Path:
    """The Python of a venv with a peer's packages, which is made if it is not there."""
    python = directory.absolute() / "bin" / "python"
    if not python.exists():
        venv.create(directory, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    return python
