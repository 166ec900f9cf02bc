"""`outbound job`: what follows the start of a training job, by its files and by Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Origin
from slurm import starts, submissions
from slurm.starts import AGAIN, DONE
from slurm.submissions import Job, Submission
from support.cli import Ended, run
from support.slurm_commands import SlurmCommands

CONTROLLER = """case "$1 $2" in
    'show job') [ ! -e $here/lost ] || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
        echo "JobId=$4 JobState=RUNNING Restarts=$(cat $here/restarts) RunTime=$(cat $here/ran)" \\
        "TimeLimit=00:10:00 Partition=gpu NumNodes=2-2 ExcNodeList=$(cat $here/excluded)";;
    'show hostnames') echo "$3" | tr , '\\n';;
    *) echo "$@" >> $here/told; [ ! -e $here/forbidden ] || { echo "Requeue is disabled" >&2; exit 1; };;
esac"""
NODES = """case "$*" in
    *-t*) cat $here/down;;
    *) printf 'node1\\nnode2\\nnode3\\n';;
esac"""


class Site(SlurmCommands):
    """Three nodes; job 41 runs in its second start."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        for name, body in {"scontrol": CONTROLLER, "sinfo": NODES}.items():
            (folder / name).write_text(f"#!/bin/sh\nhere='{folder}'\n{body}\n")
            (folder / name).chmod(0o755)
        self.know(restarts="1", ran="00:02:00", excluded="(null)", down="")
        monkeypatch.setenv("SLURM_JOB_ID", "41")
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
        self.run, self.logs = folder / "run", folder / "run/logs/2026-train"
        self.logs.mkdir(parents=True)

    def know(self, **answers: str) -> None:
        for name, answer in answers.items():
            (self.folder / name).write_text(answer)

    @property
    def told(self) -> list[str]:
        """What the controller was given to do."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def submitted(self, *ids: str, logs: Path | None = None) -> None:
        """Note jobs that train the run, as they are submitted."""
        jobs = [
            Job(part="train", name="outbound", command=[], is_chained=len(ids) > 1, id=each) for each in ids
        ]
        at = 1.0 if logs else 0.0  # later than those of this folder
        where = logs or self.logs
        submission = Submission(
            kind="train", directory=self.run, logs=where, cluster=Path("c"), command=[], at=at, jobs=jobs
        )
        submissions.note(submission)

    def begin(self) -> int:
        return int(run("job", "begin", self.run, self.logs, "--max-restarts", 5).stdout)

    def train(self, step: int, code: int | None = None, reason: str = "") -> None:
        """Leave what an attempt leaves that resumed from step 4 and saved a checkpoint."""
        attempt = attempts.claim(self.run, 2)
        attempt.begin(Origin(attempt=0, step=4))
        (attempt.folder / f"checkpoints/step-{step:08d}").mkdir(parents=True)
        if code is not None:
            attempt.end(code, reason)

    def die(self, start: int, rank: int, end: str) -> None:
        (self.logs / f"ends/{start}").mkdir(parents=True)
        (self.logs / f"ends/{start}/{rank}.end").write_text(end)

    def end(self, start: int, code: int, *options: str) -> Ended:
        words = ("--max-restarts", 5, "--code", code, *options)
        return run("job", "end", self.run, self.logs, start, *words)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site", monkeypatch)


def test_a_stop_that_saved_is_queued_again(site: Site) -> None:
    assert site.begin() == 1
    site.train(8, 75, "stopped as asked")
    assert site.end(1, 143).returncode == 75
    assert site.told == ["requeue 41"]
    (start,) = starts.starts(site.logs)
    assert (start.code, start.checkpoint, start.saved, start.next) == (75, 4, 8, AGAIN)
    assert site.begin() == 2


def test_a_node_without_the_shared_directory_is_named_and_left_out(site: Site) -> None:
    site.begin()
    assert site.end(1, 0, "--blind", "node2").returncode == 75
    assert site.told == ["requeue 41", "update JobId=41 ExcNodeList=node2"]
    (start,) = starts.starts(site.logs)
    assert (start.code, start.left_out, start.next) == (77, ["node2"], AGAIN)
    assert start.cause == f"node2: no {site.logs} there: is the shared file system mounted?"


def test_a_fine_tuning_gets_on_by_seeds_and_is_done_with_the_last(site: Site) -> None:
    site.begin()
    for seed, code in ((0, 0), (1, 75)):
        attempt = attempts.claim(site.run / f"seed-{seed}", 2)
        attempt.begin(Origin(attempt=0, step=0))
        attempt.step = 30 if seed == 0 else 0
        attempt.end(code, "")
    assert site.end(1, 75).returncode == 75
    assert site.told == ["requeue 41"]
    (start,) = starts.starts(site.logs)
    assert (start.code, start.checkpoint, start.saved, start.next) == (75, 0, 30, AGAIN)
    site.begin()
    site.know(restarts="1")
    attempts.claim(site.run / "seed-1", 2).end(0, "finished")
    site.end(2, 137)
    assert starts.starts(site.logs)[1].next == AGAIN, "the third seed was killed before it began"


def test_a_job_whose_run_was_submitted_again_is_not_queued_again_and_begins_no_more(site: Site) -> None:
    site.submitted("41")
    site.begin()
    site.train(8, 75, "stopped as asked")
    (later := site.run / "logs/2027-train").mkdir()
    site.submitted("42", logs=later)
    assert site.end(1, 75).returncode == 75
    assert site.told == []
    following = run("job", "begin", site.run, site.logs, "--max-restarts", 5)
    assert (following.returncode, following.stdout) == (0, "")
    assert f"has taken over: {later}" in following.stderr


def test_a_killed_rank_is_named_and_its_node_left_out_the_second_time(site: Site) -> None:
    for number in (1, 2):
        assert site.begin() == number
        site.train(8 * number, 1, "rank 0: connection closed by peer")
        site.die(number, 3, "137 node2\n")
        site.know(excluded="node9")
        assert site.end(number, 137).returncode == 75
    assert site.told == ["requeue 41", "requeue 41", "update JobId=41 ExcNodeList=node2,node9"]
    assert starts.starts(site.logs)[1].cause.startswith("rank 3 on node2 was killed by SIGKILL")
    assert starts.starts(site.logs)[1].left_out == ["node2"]


def test_what_the_attempt_itself_has_noted_counts_where_no_shell_could(site: Site) -> None:
    site.begin()
    site.train(8, 1, "the disk is full")
    assert site.end(1, 137).returncode == 75
    (start,) = starts.starts(site.logs)
    assert (start.code, start.cause, start.node) == (1, "the disk is full", "")


def test_what_an_earlier_start_has_saved_is_no_progress_of_a_later_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.begin()
    site.train(8, 75, "stopped as asked")
    site.end(1, 75)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    site.begin()
    site.die(2, 0, "1 node1\n")
    site.end(2, 1)
    second = starts.starts(site.logs)[1]
    assert (second.code, second.checkpoint, second.saved) == (1, None, None)


def test_a_node_stays_where_too_few_others_are_left(site: Site) -> None:
    site.know(excluded="node1")
    for number in (1, 2):
        site.begin()
        site.train(8 * number)
        site.die(number, 3, "1 node2\n")
        ended = site.end(number, 1)
    assert "needs 2 nodes, and partition gpu has 1 others" in ended.stderr
    assert site.told == ["requeue 41"] * 2


def test_a_run_that_is_trained_needs_no_more_starts(site: Site) -> None:
    site.begin()
    site.train(100, 0, "finished")
    assert site.end(1, 0).returncode == 0
    assert site.told == []
    following = run("job", "begin", site.run, site.logs, "--max-restarts", 5)
    assert (following.returncode, following.stdout) == (0, "")
    assert starts.starts(site.logs)[0].next == DONE


def test_three_starts_without_a_checkpoint_end_the_job_with_the_causes(site: Site) -> None:
    for number in (1, 2, 3):
        site.begin()
        site.die(number, 0, "1 node1\n")
        ended = site.end(number, 1)
    assert ended.returncode == 1
    assert "3 starts without a new checkpoint: start 1: rank 0 on node1 ended with code 1" in ended.stderr
    assert site.told == ["requeue 41", "requeue 41", "update JobId=41 ExcNodeList=node1"]
    assert run("job", "begin", site.run, site.logs, "--max-restarts", 5).returncode == 1


def test_a_start_whose_script_was_lost_is_closed_by_the_next(site: Site) -> None:
    site.begin()
    site.know(down="node2\n")
    assert site.begin() == 2
    (lost, _) = starts.starts(site.logs)
    assert (lost.code, lost.next) == (None, AGAIN)
    assert lost.cause == "lost with its nodes that do not answer: node2"


@pytest.mark.parametrize(
    ("answers", "does"),
    [
        ({"restarts": "2"}, []),  # its node was cut off: another start has begun since
        ({}, []),  # cancelled, preempted, or queued again from outside
        ({"ran": "00:10:01"}, ["requeue 41"]),  # the time limit, at which Slurm ends a job for good
    ],
)
def test_what_slurm_has_ended_it_queues_again_itself_but_for_the_time_limit(
    site: Site, answers: dict[str, str], does: list[str]
) -> None:
    site.begin()
    site.train(8, 75, "stopped as asked")
    site.know(**answers)
    assert site.end(1, 143, "--terminated").returncode == 75
    assert site.told == does


def test_an_old_script_that_lives_on_changes_nothing(site: Site) -> None:
    site.begin()
    site.begin()
    assert "start 2 has begun since" in site.end(1, 137).stderr
    assert site.told == []


def test_where_slurm_does_not_queue_again_the_remedy_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cli.job.PAUSES_S", ())
    site.know(forbidden="")
    site.begin()
    site.train(8, 75, "stopped as asked")
    ended = site.end(1, 75)
    assert ended.returncode == 75
    assert (
        "not queued again: scontrol: Requeue is disabled; submit the run again, or with --chain"
        in ended.stderr
    )


def test_a_job_that_slurm_has_lost_is_not_queued_again(site: Site) -> None:
    site.know(lost="")
    site.begin()
    site.train(8, 75, "stopped as asked")
    ended = site.end(1, 75)
    assert ended.returncode == 75
    assert "not queued again: Slurm does not know job 41 any more; submit the run again" in ended.stderr


def test_the_next_job_of_a_chain_leaves_out_a_bad_node(site: Site) -> None:
    site.submitted("41", "42")
    site.queue("41|outbound|RUNNING|None", "42|outbound|PENDING|Dependency")
    site.begin()
    site.train(8)
    site.die(1, 0, "77 node1\n")
    (site.logs / "ends/1/0.json").write_text('{"reason": "slow", "bad_nodes": {"node1": "slow"}}')
    assert site.end(1, 77, "--chained").returncode == 75
    assert site.told == ["update JobId=42 ExcNodeList=node1"]
    site.queue("41|outbound|RUNNING|None")
    site.begin()
    assert "this was the last of its chain" in site.end(2, 77, "--chained").stderr
