"""Submissions as files, and how their jobs stand by the queue and by the codes that they left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurm.queue import Queued
from slurm.script import worker
from slurm.state import job_states
from slurm.submissions import (
    Job,
    Submission,
    account_file,
    begin,
    current,
    directories_of_account,
    note,
    note_for_account,
    of_directory,
)

CLUSTER = Path("cluster.yaml")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def submitted(directory: Path, kind: str, *jobs: Job) -> Submission:
    submission = begin(kind, directory, CLUSTER, ["outbound", "submit", kind], dry_run=False)
    submission.jobs.extend(jobs)
    note(submission)
    note_for_account(submission)
    return submission


def array(number: str, workers: int) -> Job:
    job = worker("/data/mine", workers)
    job.id = number
    return job


def queued(task: str, state: str, reason: str = "None") -> Queued:
    return Queued(task.partition("_")[0], task, state, reason)


def test_submissions_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [submitted(tmp_path, "corpus", array(str(number), 2)) for number in range(3)]
    assert len({submission.logs for submission in made}) == 3
    assert of_directory(tmp_path) == made
    assert directories_of_account() == [tmp_path]


def test_a_dry_run_leaves_no_folder(tmp_path: Path) -> None:
    assert not begin("corpus", tmp_path, CLUSTER, [], dry_run=True).logs.parent.exists()


def test_the_account_lists_what_still_stands_the_newest_last(tmp_path: Path) -> None:
    for name in ("a", "b", "gone", "a"):
        submitted(tmp_path / name, "train")
    with account_file().open("a") as file:
        file.write('{"cut by a full di')
    for path in (tmp_path / "gone").rglob("*.json"):
        path.unlink()
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    assert directories_of_account() == [tmp_path / "b", tmp_path / "a"]
    first = json.loads(account_file().read_text().splitlines()[0])
    assert (first["kind"], first["directory"]) == ("train", str(tmp_path / "a"))


def test_an_account_without_submissions_has_none() -> None:
    assert directories_of_account() == []


def test_what_counts_is_the_newest_of_each_kind_with_the_workers_added_to_it(tmp_path: Path) -> None:
    kinds = ("corpus", "more", "verify", "select", "more", "more", "verify")
    made = [submitted(tmp_path, kind) for kind in kinds]
    assert current(tmp_path) == made[3:]


def test_tasks_are_counted_by_the_queue_first_then_by_their_codes(tmp_path: Path) -> None:
    submission = submitted(tmp_path, "corpus", array("813", 7))
    for task, code in {"813_0": 0, "813_1": 1, "813_2": 75, "813_3": 75, "813_4": 143}.items():
        (submission.logs / f"{task}.code").write_text(f"{code}\n")
    (submission.logs / "813_5.code").write_text("")  # it is being written
    queue = [queued("813_3", "PENDING", "BeginTime"), queued("813_6", "RUNNING")]
    (seen,) = job_states(submission, queue)
    assert (seen.running, seen.waiting, seen.done, seen.stopped) == (1, {"BeginTime": 1}, 1, 2)
    assert (seen.failed, seen.lost, seen.unknown) == ({"813_1": 1}, ["813_5"], 0)
    assert seen.is_queued


def test_a_task_that_left_the_queue_without_a_code_has_failed(tmp_path: Path) -> None:
    submission = submitted(tmp_path, "corpus", array("813", 2))
    (submission.logs / "813_0.code").write_text("0\n")
    (seen,) = job_states(submission, [])
    assert (seen.lost, seen.unknown, seen.has_failed) == (["813_1"], 0, True)


def test_without_an_answer_of_slurm_the_codes_count_alone(tmp_path: Path) -> None:
    submission = submitted(tmp_path, "corpus", array("813", 3))
    (submission.logs / "813_0.code").write_text("0\n")
    (seen,) = job_states(submission, None)
    assert (seen.done, seen.lost, seen.unknown) == (1, [], 2)
    assert (seen.is_queued, seen.has_failed) == (False, False)
