"""Local processes, as `outbound train --nproc N` wants them: started, stopped and ended together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.distributed.stop import SIGNALS
from pipeline.distributed.watchdog import STALLED
from pipeline.errors import SUPERSEDED_EXIT, RunError, Superseded, UsageError

POLL_S = 0.05
MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"
)
"""What large tensors leave free is kept for those of the next step, in huge pages where the kernel has them.

Else it clears new pages each time: steps on CPUs took up to 18 % longer, in as much memory. Huge pages alone,
which are not kept, cost more than they save.
"""
REMEDY = "the others were ended; the same command resumes from the last checkpoint"


def launch(arguments: list[str], processes: int, worker: str = "pipeline.train.worker") -> None:
    """Run a worker module in so many processes of this machine; return when all have ended well.

    To train, the arguments are the configuration's path and its overrides.

    SIGTERM, SIGUSR1 and SIGINT are passed on, and the processes save and end. When one dies, the others
    are ended and RunError describes what happened to it: UsageError for a usage error, Superseded when
    another attempt has taken over the run.
    """
    port = _free_port()
    command = [sys.executable, "-P", "-m", worker, *arguments]  # -P: the user's folder is not searched
    workers = [_start(command, rank, processes, port) for rank in range(processes)]
    try:
        with _forwarding(workers):
            while any(process.poll() is None for process in workers):
                if failed := [rank for rank, process in enumerate(workers) if process.returncode]:
                    raise _failure(workers, failed)
                time.sleep(POLL_S)
        if failed := [rank for rank, process in enumerate(workers) if process.returncode]:
            raise _failure(workers, failed)
    finally:
        for process in workers:
            process.kill()  # nothing happens to one that has ended
            process.wait()


def _start(command: list[str], rank: int, processes: int, port: int) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name != "SLURM_PROCID"}  # of a shell
    environment = inherited | {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Threads of several processes on the same cores spin against each other.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", MALLOC),
    }
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,  # closes with this process, whatever ends it
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches the launcher, which passes it on once
    )


@contextmanager
def _forwarding(workers: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    def forward(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    before = {number: signal.signal(number, forward) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(workers: list[subprocess.Popen[bytes]], failed: list[int]) -> RunError | UsageError:
    """Say why the first died: what it explained, else a signal that killed it; the rest are consequences."""
    if any(process.poll() == SUPERSEDED_EXIT for process in workers):
        return Superseded("another attempt has taken over this run: this one has ended")
    killed, bugs = [], []
    for rank in failed:
        code, words = workers[rank].returncode, workers[rank].communicate()[0].splitlines()
        report = json.loads(words[-1]) if words else {"message": _unexplained(rank, code), "bug": True}
        if code < 0:
            killed.append(RunError(f"rank {rank} was killed by {signal.Signals(-code).name}: {REMEDY}"))
        elif report["bug"]:
            bugs.append(RunError(report["message"]))
        else:
            return (UsageError if report["usage"] else RunError)(report["message"])
    return (killed or bugs)[0]


def _unexplained(rank: int, code: int) -> str:
    found = f"rank {rank} ended with code {code}: log.txt of its attempt says more"
    if code == STALLED:  # as of other failures, but those speak
        found += f", and stacks-rank-{rank:05d}.txt where it waited if no step came (guards.stall_timeout_s)"
    return f"{found}; {REMEDY}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
