"""`outbound status` and `logs` of training runs: by the starts of their jobs, and without a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.cli import jobs
from pipeline.monitor import run_status
from slurm import starts
from slurm.script import train
from slurm.starts import AGAIN, DONE, Start
from slurm.submissions import Submission
from support.cli import run
from support.slurm_commands import SlurmCommands
from support.submitted import status, submitted
from support.written_runs import ID, WrittenRun


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    return SlurmCommands(tmp_path / "commands", monkeypatch)


@pytest.fixture
def trained(slurm: SlurmCommands, tmp_path: Path) -> WrittenRun:
    """A run of four steps."""
    written = WrittenRun(tmp_path / "run")
    written.steps(4)
    written.evaluation()
    return written


def test_a_run_tells_its_step_its_attempt_and_its_checkpoint(trained: WrittenRun) -> None:
    saved = trained.current.folder / "checkpoints" / "step-00000003" / "checkpoint.json"
    saved.parent.mkdir(parents=True)
    saved.touch()
    os.utime(saved, (0, time.time() - 7300))
    code, told, found = status(trained.dir)
    assert code == 0
    assert "  step 4, 256 of 640 tokens, loss 4.0000\n  attempt 1 on " in told
    assert "ago; newest checkpoint: step 3, 2.0 h ago\n" in told
    assert f"  log: {trained.dir}/attempts/0001/log.txt\n" in told
    assert found["directories"][0]["run"]["tokens"] == 256


def test_after_a_resume_a_run_stands_where_it_resumed(
    trained: WrittenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_status, "BLOCK_BYTES", 50, raising=False)  # less than a row
    for step in (3, 2):  # the attempt in between takes no step
        trained.attempt(step)
        assert f"  step {step}, {64 * step} of 640 tokens, loss {step}.0000\n" in status(trained.dir)[1]
    trained.steps(1)
    assert "  step 3, 192 of 640 tokens, loss 6.0000\n" in status(trained.dir)[1]


@pytest.mark.parametrize("torn", ['{"step": 5, "tok', '{"step": 5, "tok\n', "\0\0\0\n"])
def test_a_torn_row_of_metrics_is_skipped(trained: WrittenRun, torn: str) -> None:
    with (trained.current.folder / "metrics.jsonl").open("a") as file:
        file.write(torn)
    assert "  step 4, 256 of 640 tokens, loss 4.0000\n" in status(trained.dir)[1]


def test_a_run_whose_last_attempt_failed_ends_with_1_unless_it_is_queued_again(
    trained: WrittenRun, slurm: SlurmCommands
) -> None:
    trained.current.end(1, "a loss that is not finite")
    code, told, _ = status(trained.dir)
    assert code == 1
    assert "ended with code 1: a loss that is not finite" in told
    submitted(trained.dir, "train", train("tiny.yaml", ["outbound", "train"]), "814")
    slurm.queue("814|outbound-train-tiny|PENDING|BeginTime")
    assert status(trained.dir)[0] == 0


def test_a_job_that_was_lost_fails_a_run_that_is_not_finished(trained: WrittenRun) -> None:
    submitted(trained.dir, "train", train("tiny.yaml", ["outbound", "train"]), "814")
    code, told, _ = status(trained.dir)
    assert code == 1
    assert "job 814 outbound-train-tiny: 1 left no exit code" in told
    trained.current.end(0, "finished")
    assert status(trained.dir)[0] == 0


@pytest.fixture
def submission(trained: WrittenRun) -> Submission:
    """Job 814, which trains the run."""
    return submitted(trained.dir, "train", train("tiny.yaml", ["outbound", "train"]), "814")


def start(submission: Submission, cause: str = "", **ended: object) -> Start:
    """One more start of the run's job, which ended for a cause, if one is given."""
    known = len(starts.starts(submission.logs))
    begun = starts.begin(submission.logs, submission.jobs[0].id, restart=known, nodes=f"a[{known}-8]")
    with (submission.logs / f"{begun.job}.log").open("a") as log:
        log.write(f"job {begun.job}, start {begun.number}, on {begun.nodes}\nits output, {cause}\n")
    if cause:
        for name, value in {"ended": begun.began + 60, "code": 137, "next": AGAIN, **ended}.items():
            setattr(begun, name, value)
        begun.cause = cause
        starts.note(submission.logs, begun)
    return begun


STOPPED, KILLED = "stopped as asked", "rank 3 on a7 was killed by SIGKILL: kill -9, or out of memory"


def test_a_run_on_a_cluster_shows_its_starts_with_their_causes(
    trained: WrittenRun, submission: Submission, slurm: SlurmCommands
) -> None:
    start(submission, STOPPED, code=75)
    start(submission, STOPPED, code=75)
    start(submission, KILLED, node="a7", left_out=["a7"])
    start(submission)
    slurm.queue("814|outbound-train-tiny|RUNNING|None")
    code, told, found = status(trained.dir)
    assert code == 0
    assert f"  start 4 on a[3-8]; those before: {STOPPED} (2 times); {KILLED}\n" in told
    assert "  nodes left out: a7\n" in told
    assert f"  log: {submission.logs}/814.log\n" in told
    assert [each["cause"] for each in found["directories"][0]["starts"]] == [STOPPED, STOPPED, KILLED, ""]
    assert found["directories"][0]["left_out"] == ["a7"]
    start(submission, "finished", code=0, next=DONE)
    trained.current.end(0, "finished")
    slurm.queue()
    assert "submit it again" not in status(trained.dir)[1]


def test_a_run_that_was_given_up_ends_with_1_and_the_reason(
    trained: WrittenRun, submission: Submission, slurm: SlurmCommands
) -> None:
    reason = "given up: 3 starts without a new checkpoint: start 1: x"
    start(submission, KILLED, next=reason)
    (submission.logs / "814.code").write_text("75\n")  # by itself, a stop
    code, told, found = status(trained.dir)
    assert code == 1
    assert f"  starts: 1; they ended: {KILLED}\n  {reason}\n" in told
    assert found["directories"][0]["given_up"] == reason
    slurm.queue("814|outbound-train-tiny|RUNNING|None")
    code, told, _ = status(trained.dir)
    assert (code, reason in told) == (0, False), "somebody has queued it again"


def test_a_chain_is_one_line_and_what_was_cancelled_before_it_began_has_not_failed(
    trained: WrittenRun, slurm: SlurmCommands
) -> None:
    submission = submitted(
        trained.dir, "train", train("tiny.yaml", ["outbound", "train"]), "814", "815", "816"
    )
    start(submission, STOPPED, code=75)
    trained.current.end(75, STOPPED)
    (submission.logs / "814.code").write_text("75\n")
    waiting = [f"{job}|outbound-train-tiny|PENDING|Dependency" for job in (815, 816)]
    slurm.queue(*waiting)
    code, told, found = status(trained.dir)
    assert code == 0
    line = "  job 814 ... 816 outbound-train-tiny (a chain of 3): 2 waiting (Dependency), 1 stopped early\n"
    assert line in told
    assert len(found["directories"][0]["jobs"]) == 3
    slurm.queue()
    code, told, _ = status(trained.dir)
    assert code == 0
    assert "(a chain of 3): 1 stopped early\n" in told
    assert "no job is in the queue that goes on with it: submit it again" in told
    (submission.logs / "815.log").touch()  # it began, and left no code
    assert status(trained.dir)[0] == 1


def test_the_link_of_a_run_needs_no_server(trained: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1/")
    monkeypatch.delenv("WANDB_ENTITY", raising=False)
    assert f"`outbound wandb-sync {trained.dir}` prints the link; with WANDB_ENTITY" in status(trained.dir)[1]
    monkeypatch.setenv("WANDB_ENTITY", "team")
    config = "train: {tokens: 640}\nwandb: {project: a b, mode: MODE}\n"
    url = f"Weights & Biases: http://127.0.0.1:1/team/a%20b/runs/{ID}"
    for mode, shown in (("online", f"{url}\n"), ("offline", f"{url} (sent by"), ("disabled", "")):
        (trained.current.folder / "config.yaml").write_text(config.replace("MODE", mode))
        told = status(trained.dir)[1]
        assert (shown in told) if shown else ("Weights" not in told)


def test_watching_a_run_without_slurm_goes_on_until_it_ends_or_falls_silent(
    trained: WrittenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wake(_: float) -> None:
        looks.append(1)
        if len(looks) == 2:
            trained.current.end(0, "finished")

    looks: list[int] = []
    monkeypatch.setattr("pipeline.cli.status.time.sleep", wake)
    told = run("status", trained.dir, "--watch").stdout
    assert (len(looks), told.count("step 4"), told.count("ended with code 0")) == (2, 3, 1)
    trained.attempt(4)
    for path in (trained.current.folder, *trained.current.folder.iterdir()):
        os.utime(path, (0, 0))
    run("status", trained.dir, "--watch")
    assert len(looks) == 2, "it was killed long ago"


def test_logs_of_a_run_are_those_of_its_job_and_of_its_newest_attempt(
    trained: WrittenRun, submission: Submission
) -> None:
    start(submission)
    for text in ("first", "second"):
        (trained.current.folder / "log.txt").write_text(f"{text} attempt\n")
        trained.attempt(4)
    told = run("logs", trained.dir).stdout
    assert f"==> {submission.logs}/814.log <==\njob 814, start 1, on a[0-8]\n" in told
    assert f"==> {trained.dir}/attempts/0002/log.txt <==\nsecond attempt\n" in told
    assert "first attempt" not in told


def test_each_start_that_failed_is_named_once_with_its_cause_and_its_part_of_the_log(
    trained: WrittenRun, submission: Submission, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as task:
        task.setenv("SLURM_JOB_ID", submission.jobs[0].id)
        trained.attempt(4)
    trained.current.end(1, "connection closed by peer")
    start(submission, STOPPED, code=75)
    start(submission, KILLED)
    start(submission)
    slurm.queue("814|outbound-train-tiny|RUNNING|None")
    second = (
        f"==> start 2, of job 814: {KILLED}\n{submission.logs}/814.log <==\n"
        f"job 814, start 2, on a[1-8]\nits output, {KILLED}\n"
    )
    assert run("logs", trained.dir, "--failed").stdout == second
    slurm.queue()  # nothing is known of the end of its third start
    printed = run("logs", trained.dir, "--failed", "--lines", 2).stdout
    third = f"job 814, left no exit code\n{submission.logs}/814.log <==\njob 814, start 3, on a[2-8]\n"
    assert printed.startswith(f"{second}\n==> {third}")


def test_logs_of_a_run_need_no_slurm(trained: WrittenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 0.01)
    log = trained.current.folder / "log.txt"
    log.write_text("begun\n")
    trained.current.end(1, "a loss that is not finite")
    assert run("logs", trained.dir, "--follow").stdout == f"==> {log} <==\nbegun\n"
    failed = f"==> attempt 1: a loss that is not finite\n{log} <==\nbegun\n"
    assert run("logs", trained.dir, "--failed").stdout == failed
