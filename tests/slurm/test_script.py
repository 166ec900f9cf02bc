"""The rendered scripts, held against golden files, and what they do in bash."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from slurm.codes import INTERRUPTED, RESUME_EXIT, SUPERSEDED_EXIT
from slurm.profile import JobProfile, TrainProfile, load, load_train
from slurm.script import (
    chain,
    crawlers,
    dumps,
    evaluator,
    job_name,
    linkers,
    packer,
    render,
    train,
    verifier,
    watcher,
    worker,
)
from slurm.submissions import Job
from support.cli import heed_ctrl_c
from support.patience import patient, wait_until

GOLDEN = Path(__file__).with_name("scripts")
EXAMPLE = Path(__file__).parents[2] / "configs/clusters/example.yaml"
LOGS = Path("/data/web text/logs/2026-11-30T12-00-00-corpus")
MINIMAL = TrainProfile(nodes=1, gpus_per_node=0, tasks_per_node=2, time="30")
ONE_CORE = JobProfile(time="30")
WAITING = "#!/bin/bash\ntrap 'exit {code}' {signal}\n: > begun\nwhile :; do sleep 0.02; done\n"
"""A command that goes on until a signal comes."""
SRUN = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
"""Runs one process, without its own options."""


def training(config: str) -> Job:
    return train("configs/models/gpt2-small.yaml", ["outbound", "train", config])


LINKS = dumps("/data/webtext", ["/data/RS_2013-08.zst"], "2013-08", until="links")
JOBS = {
    "train": training(f"{LOGS}/config.yaml"),
    "chain": chain(training(f"{LOGS}/config.yaml"), LOGS.parents[1], 3)[0],
    "links": LINKS,
    "linkers": linkers("/data/webtext", 4, ["810"]),
    "fetch": crawlers("/data/webtext", 8, ["--contact", "you@example.org", "--hours", "168"], ["811"]),
    "work": worker("/data/webtext", 64, ["812"]),
    "pack": packer("/data/webtext", ["--tokenizer", "/data/bpe", "--output", "/data/tokens"], 16),
    "eval": evaluator("/data/runs/gpt2", ["--data", "/data/sets", "--step", "100", "--tasks", "gpt2"], 8),
    "watch": watcher("/data/runs/gpt2", ["--data", "/data/sets"]),
    "verify": verifier("/data/webtext", ["--once", "/data/webtext/logs/verify-1.json"], 64),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_renders_to_its_golden_script(name: str) -> None:
    """To accept changes: OUTBOUND_GOLDEN=write pytest tests/slurm/test_script.py, then read them."""
    job = JOBS[name]
    assert_golden(name, render(load(EXAMPLE, job.part), job, LOGS))


def test_a_percent_sign_in_a_path_is_no_pattern_of_slurm_s() -> None:
    script = render(MINIMAL, training("a.yaml"), Path("/data/50%j off/logs/x-train"))
    assert "--output='/data/50%%j off/logs/x-train/%j.log'" in script


@pytest.mark.parametrize("gpus_by", ["gpus-per-node", "gpus-per-task"])
@pytest.mark.parametrize("name", ["train", "eval"])
def test_gpus_are_asked_for_in_the_way_of_the_cluster(name: str, gpus_by: str) -> None:
    job = JOBS[name]
    profile = load(EXAMPLE, job.part).model_copy(update={"gpus_by": gpus_by})
    assert_golden(f"{name}-{gpus_by}", render(profile, job, LOGS))


def assert_golden(name: str, script: str) -> None:
    golden = GOLDEN / f"{name}.sbatch"
    if os.environ.get("OUTBOUND_GOLDEN") == "write":
        golden.write_text(script)
    assert script == golden.read_text()


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_bash_and_sbatch_can_read_the_script(job: Job) -> None:
    for profile in (load_train(EXAMPLE), MINIMAL):
        script = render(profile, job, LOGS)
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        lines = script.splitlines()
        first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
        assert not any(
            line.startswith("#SBATCH") for line in lines[first_command:]
        )  # sbatch would not see it


def test_what_a_profile_leaves_out_is_not_asked_for() -> None:
    for job in JOBS.values():
        script = render(MINIMAL, job, LOGS)
        for word in ("partition", "account", "gres", "--mem", "None"):
            assert word not in script


def test_values_reach_the_processes_as_they_are_written(tmp_path: Path) -> None:
    """Run the script with stand-ins for Slurm's two commands: quotes, spaces and dollars must survive."""
    profile = MINIMAL.model_copy(update={"env": {"TOKEN": "it's $5"}})
    shows = 'for a; do printf "[%s]" "$a"; done; printf "[%s]\\n" "$TOKEN"'
    run = execute(tmp_path, profile, training("it's $5.yaml"), SRUN, trains(shows))
    assert "[train][it's $5.yaml][it's $5]" in run.stdout.splitlines()


@pytest.mark.parametrize("code", [0, 1, RESUME_EXIT, SUPERSEDED_EXIT, 137])
def test_the_end_of_a_start_is_judged_by_what_its_processes_left(tmp_path: Path, code: int) -> None:
    run = execute(
        tmp_path,
        MINIMAL,
        training("gpt2.yaml"),
        SRUN,
        trains("kill -9 $$" if code == 137 else f"exit {code}"),
    )
    logs = tmp_path / "the logs"
    words = f"job end {tmp_path.parent} {logs} 3 --max-restarts 20 --code {code}"
    assert run.stdout.splitlines()[-1] == words
    assert (run.returncode, (logs / "41.code").read_text()) == (9, "9\n")
    ends = {path.name: path.read_text() for path in (logs / "ends/3").iterdir()}
    failed = code not in (0, RESUME_EXIT, SUPERSEDED_EXIT)
    assert ends == ({"0.end": f"{code} node7\n"} if failed else {})


def test_an_end_after_a_later_start_has_begun_is_no_failure_to_srun(tmp_path: Path) -> None:
    """It would end the step of its own number, which is by now that of the later start."""
    later = 'mkdir "the logs/starts"; touch "the logs/starts/0004.json"; exit 1'
    run = execute(tmp_path, MINIMAL, training("gpt2.yaml"), SRUN, trains(later))
    assert run.stdout.splitlines()[-1].endswith("--code 0")
    assert (tmp_path / "the logs/ends/3/0.end").read_text() == "1 node7\n"


def test_a_start_that_slurm_ends_is_judged_as_such(tmp_path: Path) -> None:
    outbound = trains("trap 'exit 75' TERM; : > begun; while :; do sleep 0.02; done")
    with started(tmp_path, MINIMAL, training("gpt2.yaml"), SRUN, outbound) as script:
        wait_until((tmp_path / "begun").exists, "training")
        os.killpg(script.pid, signal.SIGTERM)  # as Slurm does: the script and all processes
        told, _ = script.communicate(timeout=patient())
    assert told.splitlines()[-1].endswith("--code 75 --terminated")


@pytest.mark.parametrize(("begin", "code"), [("", 0), ("exit 1", 1)])
def test_a_run_that_needs_no_start_gets_none(tmp_path: Path, begin: str, code: int) -> None:
    run = execute(tmp_path, MINIMAL, training("gpt2.yaml"), SRUN, trains("echo trained", begin))
    assert (run.stdout, run.returncode) == ("", code)


def test_the_processes_meet_at_the_first_nodes_address(tmp_path: Path) -> None:
    run = execute(
        tmp_path, MINIMAL, training("gpt2.yaml"), SRUN, trains('echo "at $MASTER_ADDR:$MASTER_PORT"')
    )
    assert "at 10.0.0.7:10041" in run.stdout.splitlines()


def test_the_processes_get_the_environment_also_where_sbatch_exports_none(tmp_path: Path) -> None:
    run = execute(tmp_path, MINIMAL, training("gpt2.yaml"), SRUN, trains('echo "${SLURM_EXPORT_ENV-all}"'))
    assert "all" in run.stdout.splitlines()


def test_a_set_up_that_fails_stops_the_job_and_leaves_its_code(tmp_path: Path) -> None:
    profile = MINIMAL.model_copy(update={"setup": ("echo $NOT_SET", "false")})
    run = execute(tmp_path, profile, training("gpt2.yaml"), SRUN, trains("echo trained"))
    assert run.returncode == 1
    assert "trained" not in run.stdout
    assert (tmp_path / "the logs/41.code").read_text() == "1\n"


def test_a_worker_is_given_its_cores_and_its_log_and_leaves_its_code(tmp_path: Path) -> None:
    stand_in = '#!/bin/sh\necho "$OUTBOUND_LOG" "$@"\nexit 3\n'
    run = execute(tmp_path, ONE_CORE, worker("/a corpus", 4), outbound=stand_in)
    logs = tmp_path / "the logs"
    words = f"{logs}/40_3.log corpus work /a corpus --stage cpu --processes 2 --grace 270s"
    assert run.stdout.splitlines()[-1] == words
    assert (logs / "40_3.code").read_text() == "3\n"
    assert run.returncode == 3


@pytest.mark.parametrize(
    ("job", "heeded", "code"), [(JOBS["work"], "USR1", RESUME_EXIT), (LINKS, "INT", INTERRUPTED)]
)
def test_slurms_signal_stops_the_command_and_the_task_is_queued_again(
    tmp_path: Path, job: Job, heeded: str, code: int
) -> None:
    """Slurm signals the script alone. The last task of an array has the id of the whole array."""
    stand_in = WAITING.format(signal=heeded, code=code)
    with started(tmp_path, ONE_CORE, job, outbound=stand_in) as script:
        wait_until((tmp_path / "begun").exists, "the command")
        script.send_signal(signal.SIGUSR1)
        told, _ = script.communicate(timeout=patient())
    assert f"requeue {'40_3' if job.workers else '41'}" in told
    assert script.returncode == code


def test_a_command_that_ends_by_itself_while_it_is_stopped_is_not_queued_again(tmp_path: Path) -> None:
    stand_in = WAITING.format(signal="USR1", code=0)
    with started(tmp_path, ONE_CORE, JOBS["work"], outbound=stand_in) as script:
        wait_until((tmp_path / "begun").exists, "the command")
        script.send_signal(signal.SIGUSR1)
        told, _ = script.communicate(timeout=patient())
    assert "requeue" not in told
    assert script.returncode == 0


def test_a_task_that_slurm_has_queued_again_already_is_left_alone(tmp_path: Path) -> None:
    """As that of a node which was cut off, and answers again while its successor works elsewhere."""
    (tmp_path / "job").write_text("JobId=43 ArrayJobId=40 Requeue=1 Restarts=1 BatchFlag=1 Reboot=0\n")
    with started(tmp_path, ONE_CORE, JOBS["work"], outbound=f"#!/bin/sh\nexit {RESUME_EXIT}\n") as script:
        told, _ = script.communicate(timeout=patient())
    assert "requeue" not in told
    assert script.returncode == RESUME_EXIT


def test_a_command_that_the_signal_kills_before_it_heeds_it_is_queued_again(tmp_path: Path) -> None:
    stand_in = "#!/bin/sh\ntouch begun\nexec sleep 60\n"
    with started(tmp_path, ONE_CORE, JOBS["work"], outbound=stand_in) as script:
        wait_until((tmp_path / "begun").exists, "the command")
        script.send_signal(signal.SIGUSR1)
        told, _ = script.communicate(timeout=patient())
    assert "requeue 40_3" in told
    assert script.returncode == RESUME_EXIT


@pytest.mark.parametrize("job", [JOBS["work"], LINKS], ids=["work", "links"])
def test_a_command_that_slurm_suspends_goes_on_when_it_is_resumed(tmp_path: Path, job: Job) -> None:
    """Slurm stops all processes of a job, and continues them in any order."""
    stand_in = "#!/bin/sh\necho $$ > pid\nmv pid begun\nuntil [ -e resumed ]; do sleep 0.02; done\n"
    with started(tmp_path, ONE_CORE, job, outbound=stand_in) as script:
        wait_until((tmp_path / "begun").exists, "the command")
        command = int((tmp_path / "begun").read_text())
        os.kill(command, signal.SIGSTOP)
        stat = Path(f"/proc/{command}/stat")
        wait_until(lambda: ") T " in stat.read_text(), "the command stopped")
        time.sleep(patient(0.1))
        os.kill(command, signal.SIGCONT)
        (tmp_path / "resumed").touch()
        told, err = script.communicate(timeout=patient())
    assert script.returncode == 0, told + err


def test_a_script_that_is_ended_says_so(tmp_path: Path) -> None:
    stand_in = "#!/bin/sh\necho $$ > pid\nmv pid begun\nexec sleep 60\n"
    with started(tmp_path, ONE_CORE, JOBS["work"], outbound=stand_in) as script:
        wait_until((tmp_path / "begun").exists, "the command")
        script.terminate()
        script.wait(timeout=patient())
        os.kill(int((tmp_path / "begun").read_text()), signal.SIGKILL)  # as Slurm does with what is left
    assert (tmp_path / "the logs" / "40_3.code").read_text() == "143\n"


def trains(training: str, begin: str = "echo 3") -> str:
    """A stand-in for `outbound`: what it does to train, and to begin a start."""
    cases = f"'job begin') {begin};;\n'job end') echo \"$@\"; exit 9;;\ntrain*) {training};;\n"
    return f'#!/bin/sh\ncase "$1 $2" in\n{cases}esac\n'


def execute(
    folder: Path, profile: JobProfile, job: Job, srun: str = "", outbound: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a rendered script to its end."""
    with started(folder, profile, job, srun, outbound) as script:
        out, err = script.communicate(timeout=patient())
    return subprocess.CompletedProcess([], script.returncode, out, err)


def started(
    folder: Path, profile: JobProfile, job: Job, srun: str = "", outbound: str = ""
) -> "subprocess.Popen[str]":
    """A rendered script in bash, as task 3 of array 40 or as job 41; srun, outbound: texts of stand-ins."""
    scontrol = (
        "#!/bin/sh\ncase $1$2 in\n"
        'showhostnames) printf "node7\\nnode8\\n";;\n'
        'shownode) echo "NodeName=$3 CPUs=2"; echo "   NodeAddr=10.0.0.7 NodeHostName=$3";;\n'
        f"showjob) cat '{folder}/job' 2>&-;;\n"
        '*) echo "$@";;\nesac\n'
    )
    for name, text in {"srun": srun, "scontrol": scontrol, "outbound": outbound}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    logs = folder / "the logs"
    logs.mkdir()
    script = folder / "script"
    script.write_text(render(profile, job, logs))
    numbers = (
        {"ARRAY_JOB_ID": "40", "ARRAY_TASK_ID": "3", "JOB_ID": "40"} if job.workers else {"JOB_ID": "41"}
    )
    about = {
        "JOB_NODELIST": "node[7-8]",
        "EXPORT_ENV": "NONE",
        "CPUS_PER_TASK": "1" if job.part == "train" else "2",
    }
    slurm = {f"SLURM_{name}": value for name, value in {**numbers, **about}.items()}
    slurm |= {"SLURMD_NODENAME": "node7", "SLURM_PROCID": "0"}
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **slurm}
    return subprocess.Popen(
        ["bash", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
        process_group=0,
    )


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("gpt2-xl.yaml", "outbound-train-gpt2-xl"),
        ("/a b/my run.yml", "outbound-train-my-run"),
        ("gpt3-2.7b.yaml", "outbound-train-gpt3-2.7b"),
    ],
)
def test_a_job_is_named_after_its_configuration(config: str, name: str) -> None:
    assert job_name("train", config) == name
