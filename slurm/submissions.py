"""What was submitted, as files: they name the jobs when Slurm has long forgotten them.

    DIR/logs/2026-11-30T12-00-00-corpus/submission.json   the jobs, with their commands
    DIR/logs/2026-11-30T12-00-00-corpus/cpu.sbatch        the script of one of them
    DIR/logs/2026-11-30T12-00-00-corpus/813_4.log         the output of a task of it
    DIR/logs/2026-11-30T12-00-00-corpus/813_4.code        the exit code of that task, once it has ended

DIR is a corpus, token shards, a run or evaluations. `~/.local/state/outbound/jobs.jsonl` lists all
submissions of this account.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

import msgspec

FILE = "submission.json"
MAKING = frozenset(["corpus", "select", "pack", "more"])
"""Kinds of submissions of workers: all those of one directory, a corpus or token shards, do the same."""
VERIFYING = frozenset(["verify", "more-verify"])
"""Kinds of submissions of workers that verify."""


class Job(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One sbatch job.

    part: its part of the profile. stage: a name that no other job of its submission has, but for those of a
    chain; by default that of its part. workers: the tasks of an array; 0 is a job without one.
    per_core: the option of the command that takes the number of cores. stop: the signal on which the command
    stops early, so that it can go on later; "" if there is none. after: ids of jobs that end first.
    max_restarts: how many starts of training may fail before it is given up. is_chained: another job goes on
    with the training, and this one is not queued again. id: that of Slurm, "" before it is submitted.
    """

    part: str
    name: str
    command: list[str]
    stage: str = ""
    workers: int = 0
    per_core: str = ""
    stop: str = ""
    after: list[str] = []
    max_restarts: int = 20
    is_chained: bool = False
    id: str = ""

    def __post_init__(self) -> None:
        self.stage = self.stage or self.part


class Submission(msgspec.Struct, kw_only=True):
    """Jobs that were submitted together.

    directory: the corpus, token shards, run or evaluations. logs: where scripts and output go. cluster: the
    profile. command: the words that were typed. at: seconds since 1970.
    """

    kind: str
    directory: Path
    logs: Path
    cluster: Path
    command: list[str]
    at: float
    jobs: list[Job]


_ENCODER = msgspec.json.Encoder(enc_hook=str)
_DECODER = msgspec.json.Decoder(Submission, dec_hook=lambda kind, value: kind(value))  # of paths


def begin(kind: str, directory: Path, cluster: Path, command: list[str], dry_run: bool) -> Submission:
    """A submission without jobs, in a folder of its own; on a dry run the folder is only named."""
    now, directory = time.time(), directory.resolve()
    stem = time.strftime(f"%Y-%m-%dT%H-%M-%S-{kind}", time.localtime(now))
    logs = directory / "logs" / stem
    for number in count(2):
        try:
            if not dry_run:
                logs.mkdir(parents=True)
            break
        except FileExistsError:  # another one of the same second
            logs = directory / "logs" / f"{stem}-{number}"
    return Submission(
        kind=kind, directory=directory, logs=logs, cluster=cluster.resolve(), command=command, at=now, jobs=[]
    )


def note(submission: Submission) -> None:
    """Write a submission's file, once its jobs are known."""
    attempt = submission.logs / f".{FILE}.{os.getpid()}"
    attempt.write_bytes(msgspec.json.format(_ENCODER.encode(submission), indent=1) + b"\n")
    attempt.replace(submission.logs / FILE)


def note_for_account(submission: Submission) -> None:
    """Add a submission to those of this account."""
    path = account_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:  # in one write, so that two at once do not mix
        file.write(_ENCODER.encode(submission) + b"\n")


def account_file() -> Path:
    """Where all submissions of this account are listed."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return home / "outbound" / "jobs.jsonl"


def directories_of_account() -> list[Path]:
    """The directories for which this account has submitted jobs and that still stand, newest last.

    One that cannot be read is among them.
    """
    found: dict[Path, None] = {}
    with suppress(FileNotFoundError):
        for line in account_file().read_bytes().splitlines():
            with suppress(msgspec.DecodeError):  # a line of another version, or cut by a full disk
                directory = _DECODER.decode(line).directory
                found.pop(directory, None)
                found[directory] = None
    return [directory for directory in found if _stands(directory)]


def _stands(directory: Path) -> bool:
    try:
        return bool(of_directory(directory))
    except OSError:
        return True


def of_directory(directory: Path) -> list[Submission]:
    """The submissions for a directory, the oldest first."""
    logs, found = directory / "logs", []
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(logs):
            with suppress(msgspec.DecodeError, FileNotFoundError, NotADirectoryError):
                found.append(of_folder(logs / name))
    return sorted(found, key=lambda submission: submission.at)


def of_folder(logs: Path) -> Submission:
    """The submission whose scripts and output go to a folder."""
    return _DECODER.decode((logs / FILE).read_bytes())


def later_for_run(run: Path, logs: Path) -> Submission | None:
    """The newest submission that trains a run, unless it is that of the folder `logs`."""
    found = [each for each in of_directory(run) if any(job.part == "train" for job in each.jobs)]
    return found[-1] if found and found[-1].logs != logs else None


def current(directory: Path) -> list[Submission]:
    """The newest submission of each kind for a directory, with the workers that were added to it."""
    newest: dict[frozenset[str], list[Submission]] = {}
    for submission in of_directory(directory):
        kinds, is_added = together(submission.kind), submission.kind.startswith("more")
        newest[kinds] = [*(newest.get(kinds, []) if is_added else []), submission]
    return sorted(chain.from_iterable(newest.values()), key=lambda submission: submission.at)


def together(kind: str) -> frozenset[str]:
    """The kinds of submissions that do the same as those of a kind."""
    return next((kinds for kinds in (MAKING, VERIFYING) if kind in kinds), frozenset([kind]))


def jobs_of(submissions: Iterable[Submission]) -> list[Job]:
    """The jobs of some submissions."""
    return [job for submission in submissions for job in submission.jobs]


def exit_codes(submission: Submission) -> dict[str, int]:
    """The exit codes of the tasks that have ended, by task: "812", or "813_4" in an array."""
    codes = {}
    for path in submission.logs.glob("*.code"):
        with suppress(ValueError, FileNotFoundError):  # it is being written, or the task starts again
            codes[path.stem] = int(path.read_text())
    return codes
