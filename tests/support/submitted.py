"""Directories for which jobs were submitted, and what `outbound status` shows of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from slurm.submissions import Job, Submission, begin, note, note_for_account
from support.cli import run


def submitted(directory: Path, kind: str, job: Job, *numbers: str) -> Submission:
    """As `outbound submit` leaves it; with several numbers, a chain."""
    submission = begin(kind, directory, Path("cluster.yaml"), [], dry_run=False)
    submission.jobs = [replace(job, id=number) for number in numbers]
    note(submission)
    note_for_account(submission)
    return submission


def status(*words: object) -> tuple[int, str, Any]:
    """Exit code, what people see, and what programs get."""
    people, programs = run("status", *words), run("status", *words, "--json")
    assert people.returncode == programs.returncode
    return people.returncode, people.stdout + people.stderr, json.loads(programs.stdout or "null")
