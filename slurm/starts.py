"""The starts of a training job: why each ended, and whether the job goes on.

    RUN/logs/DATE-train/starts/0002.json

A job that Slurm queues again, and the jobs of a chain, note one start after another in the folder of their
submission. A start that fails is followed by another, unless three in a row have brought no new checkpoint,
or more have failed than the submission allows.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path

import msgspec

from slurm.codes import BAD_NODE_EXIT, RESUME_EXIT, STOPPED, SUPERSEDED_EXIT, USAGE_EXIT

FUTILE = 3
"""So many starts in a row without a new checkpoint end a job."""
DEATHS = 2
"""A node on which processes have failed so often is left out from then on."""
_BLAMELESS = STOPPED | {BAD_NODE_EXIT}
"""Codes of processes whose own node is not to blame: a signal ended them, or the check of the nodes has named
the bad ones."""
AGAIN, DONE, GIVEN_UP = "again", "done", "given up"


class Start(msgspec.Struct, kw_only=True):
    """One start.

    job, restart: Slurm's id, and how often it had queued the job again. nodes: Slurm's list of them. began,
    ended: seconds since 1970; `ended` is None while it runs, and after it was lost until the next begins.
    code: the exit code, None when nobody was left to note it. cause: why it ended, in one line. node: where
    the first process failed, "" if none did. checkpoint: the step that it resumed from; saved: that of its
    newest checkpoint; both None when it never came so far. left_out: nodes that later starts do not use.
    next: AGAIN, DONE, or GIVEN_UP with the reason.
    """

    number: int
    job: str
    restart: int
    nodes: str
    began: float
    ended: float | None = None
    code: int | None = None
    cause: str = ""
    node: str = ""
    checkpoint: int | None = None
    saved: int | None = None
    left_out: list[str] = []
    next: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether it ended otherwise than by a request to stop, at its end, or for a successor."""
        return self.ended is not None and self.code not in (0, RESUME_EXIT, SUPERSEDED_EXIT)

    @property
    def has_saved(self) -> bool:
        """Whether it brought the run further."""
        return self.saved is not None and self.saved > (self.checkpoint or 0)


def starts(logs: Path) -> list[Start]:
    """The starts of a submission, the first first."""
    found = []
    for path in sorted((logs / "starts").glob("[0-9]*.json")):
        with suppress(msgspec.DecodeError, FileNotFoundError):  # being made at this moment
            found.append(msgspec.json.decode(path.read_bytes(), type=Start))
    return found


def begin(logs: Path, job: str, restart: int, nodes: str) -> Start:
    """Note a new start under the next number."""
    (logs / "starts").mkdir(exist_ok=True)
    for number in count(len(starts(logs)) + 1):
        start = Start(number=number, job=job, restart=restart, nodes=nodes, began=time.time())
        with suppress(FileExistsError):
            with _path(logs, number).open("xb") as file:
                file.write(_encoded(start))
            return start
    raise AssertionError("numbers do not end")


def note(logs: Path, start: Start) -> None:
    """Replace what stands of a start."""
    path = _path(logs, start.number)
    attempt = path.with_name(f".{path.name}.{os.getpid()}")
    attempt.write_bytes(_encoded(start))
    attempt.replace(path)


def what_next(ended: Sequence[Start], max_restarts: int) -> str:
    """AGAIN, DONE, or GIVEN_UP with the reason and the causes; the last of some starts has just ended.

    max_restarts: so many starts may fail before the job is given up. One that was stopped and has saved is no
    failure, however often Slurm stops the job.
    """
    last = ended[-1]
    if last.code in (0, SUPERSEDED_EXIT):
        return DONE
    if last.code == USAGE_EXIT:
        return f"{GIVEN_UP}: another start would end in the same way: {last.cause}"
    tried = [start for start in ended if start.code != BAD_NODE_EXIT]  # the next starts leave that node out
    futile = list(takewhile(lambda start: not start.has_saved, reversed(tried)))[::-1]
    if len(futile) >= FUTILE:
        return f"{GIVEN_UP}: {len(futile)} starts without a new checkpoint: {_causes(futile)}"
    failed = [start for start in ended if start.has_failed]
    if len(failed) > max_restarts:
        return f"{GIVEN_UP}: more than {max_restarts} starts have failed: {_causes(failed)}"
    return AGAIN


def nodes_to_leave(ended: Sequence[Start], bad_nodes: Sequence[str]) -> list[str]:
    """The nodes that the next start must not use: `bad_nodes`, and those that have failed DEATHS times."""
    deaths = Counter(start.node for start in ended if start.node and start.code not in _BLAMELESS)
    often = [node for node, times in deaths.items() if times >= DEATHS]
    return sorted({*bad_nodes, *often, *(node for start in ended for node in start.left_out)})


def _causes(failed: Sequence[Start]) -> str:
    return "; ".join(f"start {start.number}: {start.cause}" for start in failed)


def _path(logs: Path, number: int) -> Path:
    return logs / "starts" / f"{number:04d}.json"


def _encoded(start: Start) -> bytes:
    return msgspec.json.format(msgspec.json.encode(start), indent=1) + b"\n"
