"""What people and scripts see of `outbound train`: one line for a mistake, on stdout only the result."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.distributed.launch import launch
from pipeline.distributed.ranks import Rank, rank_from_environment
from pipeline.errors import UsageError
from slurm.codes import RESUME_EXIT
from support.kills import kill
from support.patience import patient, wait_until

pytestmark = pytest.mark.slow(60)

MakeRun = Callable[..., Any]
COMMAND = "from pipeline.cli import train; from pipeline.cli.main import main; main()"
NOWHERE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
THIRD_TASK = {
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "0",
    **NOWHERE,
}


def test_a_configuration_mistake_is_one_line_and_exit_2(tiny_run: MakeRun) -> None:
    process = tiny_run().start("parallel.zero_stage=3")
    out, err = process.communicate(timeout=patient())
    assert (process.returncode, json.loads(out)["code"]) == (2, 2)
    assert "ZeRO-3 cannot be combined with 2 pipeline stages" in err
    assert "Traceback" not in err


def test_a_run_directory_belongs_to_one_training_at_a_time(tiny_run: MakeRun) -> None:
    run = tiny_run()
    first = run.fork("train.tokens=100_000")
    run.wait_for_step(2, first)
    second = run.start("train.tokens=100_000")
    _, err = second.communicate(timeout=patient())
    assert (second.returncode, "another process trains here" in err) == (1, True), err
    for rank in first.processes:
        rank.terminate()
    assert first.wait() == [0, 0], first.told()


def test_a_directory_that_cannot_be_written_is_one_line(tiny_run: MakeRun) -> None:
    run = tiny_run()
    run.dir.write_text("a file")
    process = run.start()
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 2
    assert f"{run.dir}: is a file" in " ".join(err.split())
    assert "Traceback" not in err


def test_a_run_does_not_go_on_with_other_tokens(tiny_run: MakeRun, write_tokens: Any) -> None:
    run = tiny_run()
    run.train()
    write_tokens(run.home / "others", shards=((700, 700, 500, 141), (700,)))
    process = run.start(f"data.tokens={run.home / 'others'}", "train.tokens=3_200")
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 2
    assert "the content of data.tokens" in err


@pytest.mark.parametrize("found", ["missing", "hash"])
def test_what_only_a_rank_can_find_out_is_told_once_and_exit_1(tiny_run: MakeRun, found: str) -> None:
    run = tiny_run()
    shard = run.home / "tokens" / "train-0001-00001.tar"
    altered = shard.read_bytes().replace(b"\x01", b"\x02")  # as long as it was
    shard.unlink()
    if found == "hash":
        shard.write_bytes(altered)
    process = run.start()
    out, err = process.communicate(timeout=patient())
    assert (process.returncode, json.loads(out)["code"]) == (1, 1)
    assert err.count(f"train-0001-00001.tar: {found}") == 1
    assert "Traceback" not in err


def start_as_srun_does(run: Any, *overrides: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Two tasks of one job step, with the environment that Slurm and the job's script give them.

    `overrides` are those of each task, where there are any.
    """
    path = run.written()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "train", str(path), *given],
            env=os.environ
            | {
                "SLURM_PROCID": str(rank),
                "SLURM_NTASKS": "2",
                "SLURM_LOCALID": str(rank),
                "SLURM_STEP_ID": "0",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, given in enumerate(overrides or ([], []))
    ]


def test_the_tasks_of_srun_find_each_other(tiny_run: MakeRun) -> None:
    """Only rank 0 prints the result, and DeepSpeed prints nothing."""
    run = tiny_run()
    ranks = start_as_srun_does(run)
    (first, first_err), (second, second_err) = [rank.communicate(timeout=patient()) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], first_err + second_err
    assert first.startswith(f"{run.dir}: trained 12 steps, 1,600 tokens")
    assert first.count("\n") == 1
    assert second == ""
    said = [line for line in first_err.splitlines() if line]
    assert said.pop(0).startswith("checked in ")
    assert [line.split(":")[0] for line in said] == ["started", "step 4", "step 8", "step 12"]
    assert second_err == ""


def test_a_meeting_place_that_is_taken_is_one_line(tiny_run: MakeRun) -> None:
    run = tiny_run("alone")
    path = run.written()
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(other.getsockname()[1])}
        told = {"OUTBOUND_ENDS": str(run.home), "SLURM_PROCID": "0"}
        ended = subprocess.run(
            [sys.executable, "-c", COMMAND, "train", str(path)],
            env=os.environ | {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"} | place | told,
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(),
        )
    assert ended.returncode == 1
    assert f"127.0.0.1:{place['MASTER_PORT']} (MASTER_ADDR, MASTER_PORT): " in " ".join(ended.stderr.split())
    assert "address already in use" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    noted = json.loads((run.home / "0.json").read_text())
    assert f"127.0.0.1:{place['MASTER_PORT']}" in noted["reason"]
    assert noted["bad_nodes"] == {}


def test_torchrun_starts_the_ranks(tiny_run: MakeRun) -> None:
    run = tiny_run()
    path = run.written()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    done = subprocess.run(
        [*torchrun, "-m", "pipeline.cli.main", "train", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{run.dir}: trained 12 steps, 1,600 tokens")
    assert done.stdout.count("\n") == 1


def test_a_stop_under_srun_asks_the_script_to_queue_the_job_again(tiny_run: MakeRun) -> None:
    """One task's signal is enough; every task leaves with the code that the script knows."""
    run = tiny_run()
    ranks = start_as_srun_does(run)
    run.wait_for_step(3, ranks[0])
    ranks[1].send_signal(signal.SIGTERM)
    (first, first_err), _ = [rank.communicate(timeout=patient()) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [RESUME_EXIT, RESUME_EXIT], first_err
    assert "stopped after" in first
    assert list((run.attempt / "checkpoints").glob("step-*"))


def test_a_rank_that_loses_another_under_srun_says_so_in_one_line(tiny_run: MakeRun) -> None:
    run = tiny_run()
    ranks = start_as_srun_does(run, ["train.tokens=100_000"], ["train.tokens=100_000"])
    run.wait_for_step(3, ranks[0])
    kill(ranks[1])
    _, err = ranks[0].communicate(timeout=patient())
    assert ranks[0].returncode == 1
    assert "error: rank 0: " in err
    log = run.attempt / "log.txt"
    assert f"(see {log})" in " ".join(err.split())
    assert "Traceback" not in err
    assert "Traceback" in log.read_text()


def test_what_sigusr1_stopped_goes_on_to_the_last_digit(tiny_run: MakeRun) -> None:
    """Slurm sends it before the time limit to jobs that ask for it."""
    longer = "train.tokens=6400"
    unbroken = tiny_run("unbroken", dropout=0.1)
    unbroken.train(longer)
    run = tiny_run("stopped", dropout=0.1)
    ranks = start_as_srun_does(run, [longer], [longer])
    run.wait_for_step(3, ranks[0])
    ranks[0].send_signal(signal.SIGUSR1)
    (_, err), _ = [rank.communicate(timeout=patient()) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [RESUME_EXIT, RESUME_EXIT], err
    assert run.train(longer)["resumes"]
    assert run.timeless() == unbroken.timeless()


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, None),
        (
            {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", **NOWHERE},
            Rank(global_rank=3, world_size=8, local_rank=1),
        ),
        (THIRD_TASK, Rank(global_rank=3, world_size=8, local_rank=1, srun=True)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, None),  # a batch script, no step
        (
            {**THIRD_TASK, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},  # inherited from an outer job
            Rank(global_rank=3, world_size=8, local_rank=1, srun=True),
        ),
        (
            {**THIRD_TASK, "RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "none"},
            Rank(global_rank=5, world_size=16, local_rank=1),  # torchrun as a task of srun
        ),
    ],
)
def test_a_process_learns_its_place_from_its_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], rank: Rank | None
) -> None:
    for name in [
        name for name in os.environ if name.startswith(("SLURM_", "MASTER_", "RANK", "TORCHELASTIC_"))
    ]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert rank_from_environment() == rank


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match="MASTER_ADDR"):
        rank_from_environment()


def test_showing_help_imports_neither_torch_nor_deepspeed() -> None:
    code = "import sys, pipeline.cli.train; sys.exit(any(m in sys.modules for m in ('torch', 'deepspeed')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_does_not_speak_with_a_strangers_tokenizer(finished_run: Any, tmp_path: Path) -> None:
    from dataprep.tokenizer.train import train

    run = finished_run.copy("speaking")
    train(["to be or not to be"] * 9, 300, run.dir / "tokenizer")
    process = subprocess.run(
        [sys.executable, "-c", COMMAND, "generate", str(run.dir)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert "is not the tokenizer that this run learned with" in process.stderr


def test_a_folder_named_pipeline_where_the_user_stands_is_not_executed(
    tiny_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny_run()
    (run.home / "pipeline").mkdir()
    (run.home / "pipeline" / "__init__.py").write_text("raise SystemExit('a stranger was executed')")
    monkeypatch.chdir(run.home)
    with pytest.raises(UsageError, match="ZeRO-3 cannot be combined"):
        launch([str(run.written()), "parallel.zero_stage=3"], 1)


def test_all_processes_take_the_generation_that_the_launcher_has_found(
    tiny_run: MakeRun, write_tokens: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the launcher's, also in a shell that srun has started."""
    for name, value in THIRD_TASK.items():
        monkeypatch.setenv(name, value)
    run = tiny_run()
    write_tokens(run.home / "next", 2)
    process = run.start("train.tokens=64", "schedule.warmup_tokens=0")
    wait_until(lambda: children_of(process.pid) or process.poll() is not None, "a rank")
    assert process.poll() is None
    for path in (run.home / "next").iterdir():  # published while they start
        path.rename(run.home / "tokens" / path.name)
    _, err = process.communicate(timeout=patient())
    assert process.returncode == 0, err
    assert yaml.safe_load((run.attempt / "config.yaml").read_text())["data"]["generation"] == 1


def test_the_tasks_of_srun_refuse_to_read_different_generations(tiny_run: MakeRun, write_tokens: Any) -> None:
    run = tiny_run()
    write_tokens(run.home / "tokens", 2)
    ranks = start_as_srun_does(run, ["data.generation=1"], ["data.generation=2"])
    for rank in ranks:
        _, err = rank.communicate(timeout=patient())
        assert rank.returncode == 1
        assert "the processes have found different generations (1; 2)" in " ".join(err.split())
    assert not list(run.dir.rglob("config.yaml"))


def children_of(process: int) -> list[int]:
    """The processes that it has started and that live."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []
