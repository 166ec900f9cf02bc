"""One process of a local run, as `distributed.launch` starts it: trains, and leaves word when it fails.

Its standard input is a pipe that closes when the launcher dies, so nobody is left behind; its standard
output carries one JSON line, and only after a failure.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from dataprep.errors import DataError
from dataprep.store.os_errors import explain_os_error
from pipeline.distributed.stop import StopRequest
from pipeline.errors import RunError, UsageError, exit_code
from pipeline.train.run_log import log_file, log_to


def main(argv: list[str], report: TextIO) -> int:
    """Train as the rank that the environment names; exit code 0, 1, 2 or SUPERSEDED_EXIT."""
    stop = StopRequest()

    def work() -> None:
        from pipeline.config import load_config
        from pipeline.distributed.ranks import rank_from_environment

        config, sources = load_config(Path(argv[0]), argv[1:])
        rank = rank_from_environment()
        assert rank is not None
        log_to(config.run.dir / "log.txt", rank.global_rank)
        from pipeline.train.loop import train

        train(config, sources, rank, stop)

    return attempt(work, report)


def attempt(work: Callable[[], None], report: TextIO) -> int:
    """Do a rank's work while its launcher lives, and report why it failed; exit code as of `main`."""
    threading.Thread(target=_exit_with_launcher, daemon=True).start()
    rank = os.environ["RANK"]
    try:
        work()
    except Exception as error:
        usage, bug = isinstance(error, UsageError), not isinstance(error, (RunError, DataError, OSError))
        _report(report, str(describe_error(error, rank)), usage, bug)
        return exit_code(error)
    return 0


def run(main: Callable[[list[str], TextIO], int]) -> None:
    """Be one of several processes: keep standard output for the report, and leave at once after a failure."""
    report = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not fill the pipe
    if code := main(sys.argv[1:], report):
        os._exit(code)  # a tidy exit could wait for peers; there is nothing to save


def describe_error(error: Exception, rank: object) -> Exception:
    """Describe a failure in one line; a traceback goes to the run's log."""
    if isinstance(error, (RunError, DataError)):
        return error
    logging.getLogger("outbound").info(traceback.format_exc())
    if isinstance(error, OSError):  # a full disk, a directory that cannot be written
        return RunError(f"rank {rank}: {explain_os_error(error) or error}")
    line = f"{type(error).__name__}: {error}".partition("\n")[0]  # a bug, or the loss of another process
    return RunError(f"rank {rank}: {line} (see {log_file()})")


def _exit_with_launcher() -> None:
    os.read(0, 1)  # not sys.stdin, whose lock Python would want back at exit
    os._exit(1)


def _report(report: TextIO, message: str, usage: bool, bug: bool) -> None:
    print(json.dumps({"message": message, "usage": usage, "bug": bug}), file=report, flush=True)


if __name__ == "__main__":
    run(main)
