"""How every benchmark measures: a whole process on one core, by the counters of the kernel."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
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


LAUNCH = """
import ctypes, json, os, resource, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what the command's own children leave behind is ours
begun = time.monotonic()
_, status = os.waitpid(os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:]), 0)
ended = time.monotonic()
wall = ended - begun
try:
    while time.monotonic() < ended + 2:
        if os.waitpid(-1, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
except ChildProcessError:
    pass
used = resource.getrusage(resource.RUSAGE_CHILDREN)
measured = [os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024]
os.write(int(sys.argv[1]), json.dumps(measured).encode())
"""
"""Runs a command and reports the time and memory that it used, with all processes that it started: also those
whose parent was killed, once they have ended (at most two seconds later). The kernel begins a process's peak
with the memory of the one that started it, so this small one (10 MB) stands between it and a benchmark that
holds all documents."""


def run(command: Sequence[str | Path], core: int | None = -1) -> Run:
    """Run a command on one of the cores that we may use, or on all (None), start-up included.

    The peak is that of the largest of its processes. Raises SystemExit if it fails.
    """
    ours = sorted(os.sched_getaffinity(0))
    cores = {*ours} if core is None else {ours[core]}
    reader, writer = os.pipe()
    launched = [sys.executable, "-I", "-S", "-c", LAUNCH, str(writer), *map(str, command)]
    with subprocess.Popen(
        launched,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[writer],
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    ) as process:
        os.close(writer)
        assert process.stdout
        said = process.stdout.read()
    with os.fdopen(reader) as report:
        code, cpu_s, wall_s, peak_bytes = json.loads(report.read() or "[1, 0, 0, 0]")
    if code:
        raise SystemExit(f"{command}: exit code {code} after {said!r}")
    return Run(cpu_s, wall_s, peak_bytes, said)


def high_water() -> int:
    """The largest resident memory of this process so far, in bytes; getrusage would give its parent's."""
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
