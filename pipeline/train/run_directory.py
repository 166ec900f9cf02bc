"""A run's directory: the attempt that a start makes in it, and what it holds from the start."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from dataprep.errors import DataError
from dataprep.store import files
from dataprep.store.locks import NO_LOCKS_HERE
from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Attempt
from pipeline.config import RunConfig, save_config
from pipeline.data.sources import Sources
from pipeline.errors import SUPERSEDED_EXIT, RunError, exit_code
from pipeline.monitor.metrics_logger import keep_funnel, wandb_id
from pipeline.train.resumable import refuse_earlier_layout

LOOK_S = 10.0
"""How often an attempt looks whether a later one has begun."""

log = logging.getLogger("outbound")


@contextmanager
def claim(run: Path, processes: int) -> Iterator[Attempt]:
    """Make the next attempt of a run, and end the process when a later one takes over.

    Raises RunError when another process of this machine trains here. A start on another machine is always let
    in, since its predecessor may be alive behind a network that is cut.
    """
    run.mkdir(parents=True, exist_ok=True)
    refuse_earlier_layout(run)
    with _alone_on_this_machine(run):
        attempt = attempts.claim(run, processes)
        _link_log_of_job(attempt)
        over = Event()
        Thread(target=leave_when_superseded, args=(attempt, over), daemon=True).start()
        try:
            yield attempt
        except BaseException as error:
            with suppress(OSError, DataError):  # a disk that is full must not hide what went wrong
                attempt.end(exit_code(error), str(error) or type(error).__name__)
            raise
        finally:
            over.set()


def _link_log_of_job(attempt: Attempt) -> None:
    """Let `job.log` in the attempt's folder lead to the output of the Slurm job that it is a part of."""
    if log_of_job := os.environ.get("OUTBOUND_LOG"):
        (attempt.folder / "job.log").symlink_to(os.path.relpath(log_of_job, attempt.folder))


def leave_when_superseded(attempt: Attempt, over: Event, leave: Callable[[int], object] = os._exit) -> None:
    """End the process when a later attempt owns the run, even while it waits for ranks that are gone."""
    while not over.wait(LOOK_S):
        try:
            successor = attempt.successor()
        except (OSError, DataError):
            continue  # the filesystem may come back
        if successor:
            log.warning(successor)
            with suppress(OSError, DataError):
                attempt.end(SUPERSEDED_EXIT, successor)
            leave(SUPERSEDED_EXIT)
            return


def prepare(attempt: Attempt, config: RunConfig, sources: Sources) -> str:
    """Write configuration, tokenizer and funnel; return the W&B id."""
    run = config.run.dir
    save_config(config, attempt.folder / "config.yaml")
    if sources.tokenizer.is_dir():  # a copy, so that the run can generate text by itself
        for path in sources.tokenizer.glob("[!.]*"):
            files.write_once(run / "tokenizer" / path.name, path.read_bytes())
    keep_funnel(attempt.folder, sources)
    return wandb_id(run)


def bytes_of_earlier_checkpoints(attempt: Attempt) -> int:
    """Room that the checkpoints of earlier attempts take, besides what this attempt has linked."""
    earlier: dict[int, int] = {}
    for number in range(1, attempt.number):
        earlier |= _sizes(attempts.folder(attempt.run, number))
    own = _sizes(attempt.folder)
    return sum(size for inode, size in earlier.items() if inode not in own)


def _sizes(folder: Path) -> dict[int, int]:
    """Inode -> bytes of each file of an attempt's checkpoints."""
    with suppress(OSError):  # an older copy that lives on may let go of some
        found = [path.stat() for path in (folder / "checkpoints").glob("*/*")]
        return {stat.st_ino: stat.st_size for stat in found}
    return {}


@contextmanager
def _alone_on_this_machine(run: Path) -> Iterator[None]:
    """Hold a lock that this machine's processes share; raises RunError when one of them has it."""
    with (run / f"lock-{attempts.host_name()}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise RunError(
                f"{run}: another process trains here; stop it, or choose another run.dir"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise
        yield
