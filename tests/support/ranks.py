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

from support.forking import forking, redirect
from support.patience import patient

STARTED: list[Ranks] = []
"""Those whose test has not ended: tests/conftest.py ends what a test that failed has left."""


class Ranks:
    """Processes that run a worker module, as `pipeline.distributed.launch` starts it."""

    def __init__(
        self,
        home: Path,
        arguments: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        worker: str = "pipeline.train.worker",
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
        STARTED.append(self)

    def poll(self) -> int | None:
        """An exit code, once one of them has ended."""
        return next((process.exitcode for process in self.processes if process.exitcode is not None), None)

    def wait(self) -> list[int]:
        """Let all of them end; return their exit codes. Those that do not end in time are killed."""
        for process in self.processes:
            process.join(patient())
        codes = [process.exitcode for process in self.processes if process.exitcode is not None]
        self.kill()
        assert len(codes) == len(self.processes), [self.told(rank) for rank in range(len(self.processes))]
        return codes

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
        redirect(stream, path)
    sys.argv[1:] = arguments
    runpy.run_module(worker, run_name="__main__")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
