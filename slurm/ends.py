"""How the processes of a training job have ended: files in a folder for each start.

    RUN/logs/DATE-train/ends/0002/3.end    "137 node1": exit code and node, by the shell around process 3
    RUN/logs/DATE-train/ends/0002/3.json   why, by process 3 itself, if it could

A process that saved and stopped leaves none, and neither does one whose node has lost its power.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

FOLDER = "OUTBOUND_ENDS"
"""The variable that holds the folder, in the processes of a training job."""
KILLS = {
    signal.SIGKILL: "kill -9, or out of memory",
    signal.SIGBUS: "a shard was cut while it was read, or /dev/shm is full",
}
"""What sends some signals."""
_TERMINATED = 128 + signal.SIGTERM
"""By which srun ends the other processes once one has failed."""


class Reason(msgspec.Struct, kw_only=True):
    """What a process knew of its own failure. bad_nodes: nodes that cannot train, with the reason."""

    reason: str
    bad_nodes: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first process that failed by itself. cause: one line. bad_nodes: those that cannot train."""

    code: int
    node: str
    cause: str
    bad_nodes: Sequence[str] = ()


def note(reason: str, bad_nodes: dict[str, str]) -> None:
    """Note why this process ends by an error, if it belongs to a training job."""
    if (folder := os.environ.get(FOLDER)) and (rank := os.environ.get("SLURM_PROCID")):
        path = Path(folder, f"{rank}.json")
        attempt = path.with_suffix(".part")
        with suppress(OSError):  # a disk that is full must not hide the error itself
            attempt.write_bytes(msgspec.json.encode(Reason(reason=reason, bad_nodes=bad_nodes)))
            attempt.replace(path)


def first_failure(folder: Path) -> Failure | None:
    """Find the process whose failure ended the others; None when no process has left a file.

    One that was killed comes first: the others then fail because they have lost it.
    """
    ends = [_end(path) for path in folder.glob("*.end")]
    found = [end for end in ends if end]
    if not found:
        return None
    _, _, rank, code, node = min(found)
    reason = _reason(folder / f"{rank}.json")
    where = f"rank {rank} on {node}"
    if reason:
        cause = f"{where}: {reason.reason.removeprefix(f'rank {rank}: ')}"
    elif code > 128:
        cause = f"{where} was killed by {_signal(code - 128)}"
    else:
        cause = f"{where} ended with code {code}"
    bad = (_reason(path) for path in folder.glob("*.json"))
    bad_nodes = [name for each in bad if each for name in each.bad_nodes]
    return Failure(code=code, node=node, cause=" ".join(cause.split()), bad_nodes=bad_nodes)


def _end(path: Path) -> tuple[int, int, int, int, str] | None:
    """What a shell noted, so that the least is the one to blame: order, time, rank, code, node."""
    with suppress(ValueError, FileNotFoundError):  # cut off by a full disk
        text, node = path.read_text().split()
        code = int(text)
        order = 2 if code == _TERMINATED else 0 if code > 128 else 1
        return order, path.stat().st_mtime_ns, int(path.stem), code, node
    return None


def _reason(path: Path) -> Reason | None:
    with suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Reason)
    return None


def _signal(number: int) -> str:
    """
    >>> _signal(9), _signal(11), _signal(200)
    ('SIGKILL: kill -9, or out of memory', 'SIGSEGV', 'signal 200')
    """
    with suppress(ValueError):
        known = signal.Signals(number)
        return f"{known.name}: {KILLS[known]}" if known in KILLS else known.name
    return f"signal {number}"
