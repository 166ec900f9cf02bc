"""Slurm's commands by stand-ins on the path: what they are told, and what is made of their answers."""

import os
from pathlib import Path

import pytest

from slurm import queue
from slurm.queue import Queued, SlurmError, environment, sbatch, squeue, stop
from slurm.submissions import Job

OUTER = {
    "SLURM_JOB_ID": "7",
    "SLURM_MEM_PER_CPU": "100",
    "SLURMD_NODENAME": "node7",
    "SBATCH_PARTITION": "other",
    "SRUN_DEBUG": "1",
    "SQUEUE_STATES": "R",
    "PMI_RANK": "0",
    "PMIX_RANK": "0",
    "OMPI_COMM_WORLD_RANK": "0",
    "CUDA_VISIBLE_DEVICES": "0",
    "ROCR_VISIBLE_DEVICES": "0",
    "TMPDIR": "/scratch/7",
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "here",
    "TORCHELASTIC_RUN_ID": "x",
    "OUTBOUND_LOG": "/run/logs/7.log",
    "OUTBOUND_ENDS": "/run/logs/ends/1",
    "OUTBOUND_GPUS_PER_NODE": "8",
}


SLURM_24_11 = (
    """\
2_1|work|PENDING|Resources
2_2|work|PENDING|Resources
2_3|work|PENDING|Resources
3_0|late|PENDING|Dependency
3_1|late|PENDING|Dependency
3_2|late|PENDING|Dependency
1|fetch|RUNNING|None
2_0|work|RUNNING|None
""",
    """\
2_0|work|PENDING|BeginTime
2_3|work|PENDING|Resources
3_0|late|PENDING|Priority
3_1|late|PENDING|Priority
3_2|late|PENDING|Priority
2_2|work|RUNNING|None
2_1|work|RUNNING|None
""",
)
"""Answers of a real squeue of Slurm 24.11.5 on two nodes: before and after a task queued itself again and the
job ended for which others waited."""

FETCH = Job(part="fetch", name="fetch", command=[], id="812")
WORK = Job(part="cpu", name="work", command=[], workers=9, id="813")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is searched before all others for commands; tests stand in it."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stand_in(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_a_job_id_is_what_sbatch_prints(path: Path) -> None:
    stand_in(path, "sbatch", 'cat > script; echo "123;bigcluster"')
    assert sbatch("the script") == "123"
    assert (path / "script").read_text() == "the script"


def test_a_machine_without_a_cluster_is_named_in_one_line(path: Path) -> None:
    told = """\
sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
sbatch: error: fetch_config: DNS SRV lookup failed
sbatch: error: _establish_config_source: failed to fetch config
sbatch: fatal: Could not establish a configuration source"""
    stand_in(path, "sbatch", f"cat >&2 <<'END'\n{told}\nEND\nexit 1")
    with pytest.raises(SlurmError, match=r"^no cluster here: sbatch finds no configuration of Slurm"):
        sbatch("the script")


def test_slurms_reason_for_refusing_a_job_is_shown_in_one_line(path: Path) -> None:
    stand_in(path, "sbatch", 'echo "sbatch: error: invalid partition\nTwice" >&2; exit 1')
    with pytest.raises(SlurmError, match="sbatch: sbatch: error: invalid partition Twice"):
        sbatch("the script")


def test_without_slurm_the_user_is_told_where_to_submit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmError, match="sbatch is not on this machine: use a login node"):
        sbatch("the script")


def test_nothing_of_an_outer_job_reaches_the_new_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OUTER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("MASTERPIECE", "kept")
    stand_in(path, "sbatch", "env > told; echo 1")
    sbatch("the script")
    told = dict(line.split("=", 1) for line in (path / "told").read_text().splitlines())
    assert OUTER.keys().isdisjoint(told)
    assert (told["SLURM_CONF"], told["MASTERPIECE"]) == ("/etc/slurm.conf", "kept")
    assert environment() == {name: value for name, value in os.environ.items() if name not in OUTER}


def test_outside_a_job_the_folder_for_temporary_files_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("TMPDIR", "/scratch/mine")
    assert environment()["TMPDIR"] == "/scratch/mine"


def test_the_queue_is_read_task_by_task_without_those_of_others(path: Path) -> None:
    told = "812|fetch|RUNNING|None\n813_4|work|PENDING|Priority\n813_5|somebody-elses|RUNNING|None"
    told += "\n813_6|work|PENDING|Site|full"  # a site's own reason
    stand_in(path, "squeue", f'echo "$@" > words; echo "{told}"')
    assert squeue([FETCH, WORK]) == [
        Queued("812", "812", "RUNNING", "None"),
        Queued("813", "813_4", "PENDING", "Priority"),
        Queued("813", "813_6", "PENDING", "Site|full"),
    ]
    assert "-h -r -j 812,813" in (path / "words").read_text()


def test_the_queue_of_slurm_24_11_is_read(path: Path) -> None:
    jobs = [
        Job(part="cpu", name=name, command=[], id=str(1 + number))
        for number, name in enumerate(("fetch", "work", "late"))
    ]
    stand_in(path, "squeue", "cat queue")
    found = []
    for told in SLURM_24_11:
        (path / "queue").write_text(told)
        found.append({task.task: (task.state, task.reason) for task in squeue(jobs)})
    before, after = found
    assert before["1"] == before["2_0"] == ("RUNNING", "None")
    assert before["2_3"] == ("PENDING", "Resources")
    assert before["3_2"] == ("PENDING", "Dependency")
    assert "1" not in after
    assert after["2_0"] == ("PENDING", "BeginTime")
    assert after["2_1"] == after["2_2"] == ("RUNNING", "None")
    assert after["3_0"] == ("PENDING", "Priority")


def test_jobs_that_slurm_has_forgotten_are_not_in_the_queue(path: Path) -> None:
    stand_in(path, "squeue", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    assert squeue([FETCH]) == []


def test_slurm_is_not_asked_about_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert squeue([]) == []
    assert stop([], batch=True, wait_s=0, tell=print) == 0


def test_a_controller_that_does_not_answer_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "ANSWER_S", 0.2)
    stand_in(path, "squeue", "exec sleep 60")
    with pytest.raises(SlurmError, match="squeue: Slurm's controller has not answered"):
        squeue([FETCH])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "POLL_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_jobs_are_stopped_by_signals_and_then_cancelled(path: Path) -> None:
    stand_in(
        path, "scancel", 'echo "$@" >> words; echo "Kill job error: Invalid job id specified" >&2; exit 1'
    )
    answer_in_turn(path, "812|fetch|RUNNING|None\n813_4|work|PENDING|BeginTime")
    told: list[int] = []
    assert stop([FETCH, WORK], batch=True, wait_s=60, tell=told.append) == 0
    assert told == [1]
    turn = ["--state=PENDING 812 813", "--signal=USR1 --state=RUNNING --batch 812 813"]
    assert (path / "words").read_text().splitlines() == [*turn, *turn, "812 813"]


@pytest.mark.usefixtures("at_once")
def test_what_queues_itself_again_at_the_last_moment_is_cancelled_too(path: Path) -> None:
    stand_in(path, "scancel", 'echo "$@" >> words')
    answer_in_turn(path, "812|fetch|COMPLETING|None", "812|fetch|PENDING|BeginTime")
    assert stop([FETCH], batch=True, wait_s=60, tell=lambda left: None) == 0
    assert (path / "words").read_text().splitlines()[2:] == ["812", "812"]


@pytest.mark.usefixtures("at_once")
def test_what_does_not_stop_in_time_is_cancelled_while_it_runs(path: Path) -> None:
    stand_in(path, "scancel", 'echo "$@" >> words')
    answer_in_turn(path, "812|fetch|RUNNING|None")
    assert stop([FETCH], batch=False, wait_s=0, tell=lambda left: None) == 1
    assert (path / "words").read_text().splitlines()[1:] == ["--signal=USR1 --state=RUNNING 812", "812"]


def answer_in_turn(folder: Path, *answers: str) -> None:
    """Let squeue print these, one at each call, and then nothing."""
    for number, answer in enumerate(answers):
        (folder / f"answer{number}").write_text(f"{answer}\n")
    stand_in(folder, "squeue", 'set -- answer*; test -e "$1" || exit 0; cat "$1"; rm "$1"')
