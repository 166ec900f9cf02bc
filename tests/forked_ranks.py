"""Ranks of training runs: real processes, forked from one that has imported torch and DeepSpeed already.

To import them takes every process longer than a tiny run does. How ranks start from nothing, the tests of
`outbound train`, srun and torchrun tell.
"""

from __future__ import annotations

import os
import runpy
import socket
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from forking import forking


class Ranks:
    """Processes that run a worker module, as `pipeline.launch` starts it."""

    def __init__(
        self,
        home: Path,
        arguments: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        worker: str = "pipeline.worker",
    ) -> None:
        """Start a process with each of `environments`; what they print goes to files in `home`."""
        self.home = home
        common = {"WORLD_SIZE": str(len(environments)), "OMP_NUM_THREADS": "1"}
        common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        context = forking()
        lives, self._alive = context.Pipe(duplex=False)  # a worker ends when it closes
        self.processes = []
        for rank, own in enumerate(environments):
            environment = os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank), **own}
            streams = (home / f"out-{rank}", home / f"err-{rank}")
            process = context.Process(
                target=_become, args=(worker, list(arguments), environment, lives, streams), daemon=True
            )
            process.start()
            self.processes.append(process)
        lives.close()

    def poll(self) -> int | None:
        """None while all of them run, else how those that have ended did: see `wait`."""
        codes = [process.exitcode for process in self.processes if process.exitcode is not None]
        return max(codes, default=None)

    def wait(self, timeout: float = 120) -> int:
        """Let all of them end; return the worst exit code, below 0 if a signal killed them all."""
        try:
            for process in self.processes:
                process.join(timeout)
                assert process.exitcode is not None, self.told()
        finally:
            self.kill()
        return max(process.exitcode or 0 for process in self.processes)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()

    def reported(self, rank: int = 0) -> str:
        """What a rank has to tell its launcher: a line of JSON, or nothing."""
        return (self.home / f"out-{rank}").read_text()

    def told(self, rank: int = 0) -> str:
        """What a rank tells people."""
        return (self.home / f"err-{rank}").read_text()


def _become(
    worker: str,
    arguments: list[str],
    environment: dict[str, str],
    lives: Connection,
    streams: tuple[Path, Path],
) -> None:
    """Be what `python -m WORKER ARGUMENTS` would be."""
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(lives.fileno(), 0)
    for stream, path in enumerate(streams, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    sys.argv[1:] = arguments
    runpy.run_module(worker, run_name="__main__")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
