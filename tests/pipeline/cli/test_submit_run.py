"""`outbound submit train`: what is refused, what is frozen, and how a second copy of a run is met."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import CheckpointWriter
from pipeline.checkpoint.run_state import RunState
from pipeline.config import load_config
from pipeline.finetune.settings import load_config as load_finetuning
from slurm.script import train
from slurm.submissions import of_directory
from support.cli import result, run
from support.runs import TinyRun, make_shards
from support.slurm_commands import SlurmCommands
from support.submitted import submitted as note_submitted

PROFILE = {"time": "30", "nodes": 2, "gpus_per_node": 0, "tasks_per_node": 1}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text(yaml.safe_dump(PROFILE))
    return SlurmCommands(tmp_path / "commands", monkeypatch)


@pytest.fixture
def tiny(tmp_path: Path, slurm: SlurmCommands) -> TinyRun:
    make_shards(tmp_path / "tokens")
    return TinyRun.make(tmp_path)


def submit(tiny: TinyRun, *words: str) -> tuple[int, str]:
    """The exit code of a submission, and what it prints."""
    ended = run("submit", "train", tiny.written(), *words, "--cluster", "cluster.yaml")
    return ended.returncode, ended.stdout + ended.stderr


def submitted(tiny: TinyRun, *words: str) -> Any:
    """What a submission prints with --json; it must end well."""
    return result("submit", "train", tiny.written(), *words, "--cluster", "cluster.yaml")


def test_the_checked_configuration_is_frozen_and_trained_whatever_the_file_holds_later(
    tiny: TinyRun, slurm: SlurmCommands
) -> None:
    overrides = ["run.seed=7", "optimizer.lr=1e-4"]
    told = submitted(tiny, *overrides)
    typed, _ = load_config(tiny.written(), overrides)
    tiny.settings["optimizer"]["lr"] = 5
    make_shards(tiny.home / "tokens", 2)
    frozen = Path(told["logs"]) / "config.yaml"
    assert load_config(frozen, [])[0] == typed
    assert typed.data.generation == 1
    assert frozen.is_relative_to(tiny.dir / "logs")
    assert f"outbound train {frozen} ||" in slurm.script(812)


def test_a_dry_run_needs_no_tokens_and_writes_nothing(tiny: TinyRun, slurm: SlurmCommands) -> None:
    code, told = submit(tiny, "data.tokens=later", "model.vocab_size=61", "--dry-run")
    assert code == 0, told
    assert "#SBATCH --ntasks-per-node=1" in told
    assert f"outbound train {tiny.dir}/logs/" in told
    assert "-train/config.yaml ||" in told
    assert not tiny.dir.exists()


def test_every_mistake_of_both_files_and_of_the_command_line_is_named_at_once(
    tiny: TinyRun, slurm: SlurmCommands
) -> None:
    Path("cluster.yaml").write_text(yaml.safe_dump({**PROFILE, "tasks_per_node": 3, "partitoin": "gpu"}))
    tiny.settings["train"]["tokesn"] = tiny.settings["train"].pop("tokens")
    tiny.dir.mkdir()
    (tiny.dir / "thesis.tex").touch()
    code, told = submit(tiny, "optimizer.lrr=1", "data.tokens=nowhere")
    assert code == 2
    for mistake in (
        "run.yaml: 5 mistakes",
        "optimizer.lrr (given as optimizer.lrr=1 on the command line): unknown key; write lr, or remove it",
        "train.tokesn: unknown key; write tokens, or remove it",
        "data (given as data.tokens=nowhere on the command line): nowhere: no generation-N.json here",
        "batch.batch_size_multiple: 4 is not a multiple of micro-batch 1 x 3 data-parallel ranks",
        f"run.dir: {tiny.dir}: holds other files (thesis.tex); give the run a directory of its own",
        "cluster.yaml: partitoin is no key of a cluster profile: write partition, or remove it",
    ):
        assert mistake in told
    assert not (slurm.folder / "812.sbatch").exists()


def test_a_shard_that_is_gone_is_missed_before_the_job_waits(tiny: TinyRun, slurm: SlurmCommands) -> None:
    (tiny.home / "tokens" / "train-0001-00001.tar").unlink()
    code, told = submit(tiny)
    assert code == 1
    assert "train-0001-00001.tar: missing" in told


def test_a_run_of_an_earlier_version_is_refused_before_the_job_waits(
    tiny: TinyRun, slurm: SlurmCommands
) -> None:
    (tiny.dir / "checkpoints").mkdir(parents=True)
    code, told = submit(tiny)
    assert code == 1
    assert "an earlier version of outbound trained here" in told


def test_local_training_refuses_a_directory_with_other_files(tiny: TinyRun) -> None:
    tiny.dir.mkdir()
    (tiny.dir / "thesis.tex").touch()
    ended = run("train", tiny.written())
    assert ended.returncode == 2
    assert "holds other files (thesis.tex)" in ended.stderr


def begin(
    tiny: TinyRun, monkeypatch: pytest.MonkeyPatch, host: str = "far", job: str = ""
) -> attempts.Attempt:
    """An attempt of another machine that has saved a checkpoint and goes on."""
    monkeypatch.setenv("SLURMD_NODENAME", host)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    config, sources = load_config(tiny.written(), [])
    attempt = attempts.claim(tiny.dir, processes=2)
    attempt.begin(attempts.Origin(attempt=0, step=0))
    (attempt.folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    writer = CheckpointWriter(attempt.folder, 4)
    writer.prepare()
    state = RunState(
        step=4,
        config=config.model_dump(mode="json"),
        sources_fingerprint=sources.fingerprint,
        tokenizer_fingerprint=sources.tokenizer_fingerprint,
        processes=2,
        stages=2,
    )
    writer.publish(state, [], keep=1)
    monkeypatch.delenv("SLURMD_NODENAME")
    monkeypatch.delenv("SLURM_JOB_ID")
    return attempt


def test_a_configuration_that_the_run_cannot_resume_with_is_refused_before_the_job_waits(
    tiny: TinyRun, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tiny, monkeypatch).end(75, "stopped")
    code, told = submit(tiny, "run.seed=4", "optimizer.lr=0.5")
    assert code == 2
    given = "run.seed (given as run.seed=4 on the command line)"
    assert f"{given}: was 3, is 4: a run does not change it once it has begun" in told
    code, told = submit(tiny, "model.dropout=x")
    assert code == 2
    assert "a run does not change" not in told, "the model is unreadable, and not another one"
    (tiny.dir / "notes.txt").touch()  # a run that has begun may have a stranger's files
    assert submit(tiny, "optimizer.lr=0.5")[0] == 0
    (manifest,) = tiny.dir.glob("attempts/*/checkpoints/*/checkpoint.json")
    manifest.write_text("{}")
    code, told = submit(tiny)
    assert code == 1
    assert "every checkpoint is damaged" in told


def test_a_run_in_the_queue_is_not_submitted_again(tiny: TinyRun, slurm: SlurmCommands) -> None:
    name = submitted(tiny)["jobs"]["812"]["name"]
    slurm.queue(f"812|{name}|RUNNING|None")
    code, told = submit(tiny)
    assert code == 1
    assert (
        "job 812 is in the queue already; let the new job take over with --take-over, or end it with" in told
    )
    slurm.queue()
    assert submit(tiny)[0] == 0


def age(tiny: TinyRun) -> None:
    """Let an attempt have written all of it long ago."""
    for path in tiny.dir.rglob("*"):
        os.utime(path, (0, path.stat().st_mtime - attempts.SILENT_S - 1))


@pytest.mark.parametrize(
    ("changes", "is_alive"),
    [
        (lambda tiny, begin: begin(), True),
        (lambda tiny, begin: begin(job="77"), True),
        (lambda tiny, begin: begin(job="812"), False),
        (lambda tiny, begin: begin().end(1, "a bug"), False),
        (lambda tiny, begin: (begin(), age(tiny)), False),
    ],
    ids=["by hand", "a job of another script", "a job that has left the queue", "ended", "silent"],
)
def test_a_run_that_trains_elsewhere_is_not_submitted(
    tiny: TinyRun,
    slurm: SlurmCommands,
    monkeypatch: pytest.MonkeyPatch,
    changes: Callable[..., Any],
    is_alive: bool,
) -> None:
    assert submit(tiny)[0] == 0
    changes(tiny, lambda **who: begin(tiny, monkeypatch, **who))
    code, told = submit(tiny)
    assert code == (1 if is_alive else 0), told
    assert ("attempt 1 on far seems to train here" in told) == is_alive
    assert submit(tiny, "--take-over")[0] == 0


def test_an_attempt_of_this_machine_whose_process_is_gone_is_not_alive(
    tiny: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    monkeypatch.setattr(os, "getpid", lambda: process.pid)
    begin(tiny, monkeypatch, host="far")
    assert attempts.alive(tiny.dir), "another machine has processes of its own"
    begin(tiny, monkeypatch, host=attempts.host_name())
    assert attempts.alive(tiny.dir) is None


def test_a_take_over_cancels_what_waits_and_lets_what_runs_save(tiny: TinyRun, slurm: SlurmCommands) -> None:
    name = submitted(tiny, "--chain", "2")["jobs"]["812"]["name"]
    new = "814|outbound-train-run|PENDING|Priority"
    slurm.queue(f"812|{name}|RUNNING|None", f"813|{name}|PENDING|Dependency", new)
    told = submitted(tiny, "--take-over")
    assert told["jobs"]["814"]["name"] == "outbound-train-run"
    assert told["taken_over"] == ["812", "813"]
    assert slurm.cancelled == [
        "813",
        "--signal=USR1 --state=RUNNING 812",
        "--state=PENDING 812",
    ]


def test_a_dry_run_is_not_refused_while_a_job_runs_and_takes_over_nothing(
    tiny: TinyRun, slurm: SlurmCommands
) -> None:
    job = train("run.yaml", ["outbound", "train"])
    note_submitted(tiny.dir, "train", job, "700")
    slurm.queue(f"700|{job.name}|RUNNING|None")
    assert submit(tiny, "--dry-run")[0] == 0
    assert submit(tiny, "--take-over", "--dry-run")[0] == 0
    assert slurm.cancelled == []


@pytest.mark.slow(4)
def test_a_fine_tuning_is_checked_frozen_and_refused_while_a_seed_trains_elsewhere(
    tmp_path: Path, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.finetuning import Tuning, write_pretrained

    tuning = Tuning.make(tmp_path, write_pretrained(tmp_path / "gpt1"))
    words = ("submit", "finetune", tuning.written(), "finetune.lr=1e-3", "--cluster", "cluster.yaml")
    frozen = Path(result(*words)["logs"]) / "config.yaml"
    assert load_finetuning(frozen, []) == tuning.config("finetune.lr=1e-3")
    assert f"outbound finetune {frozen} ||" in slurm.script(812)
    monkeypatch.setenv("SLURMD_NODENAME", "far")
    attempts.claim(tuning.seed_0, processes=1)
    monkeypatch.delenv("SLURMD_NODENAME")
    assert f"{tuning.seed_0}: attempt 1 on far seems to train here" in run(*words).stderr
    (tmp_path / "gpt1" / "model.safetensors").unlink()
    assert "finetune.init_from: " in run(*words, "--take-over").stderr


def test_a_chain_is_jobs_of_one_name_that_no_other_run_has(
    tiny: TinyRun, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = submitted(tiny, "--chain", "3", "--max-restarts", "5")
    (noted,) = of_directory(tiny.dir)
    assert [(job.id, job.is_chained, job.max_restarts) for job in noted.jobs] == [
        (number, True, 5) for number in ("812", "813", "814")
    ]
    (name,) = {job["name"] for job in told["jobs"].values()}
    for job in (812, 813, 814):
        assert f"#SBATCH --job-name={name}\n" in slurm.script(job)
        assert "#SBATCH --dependency=singleton\n" in slurm.script(job)
        assert "afterany" not in slurm.script(job)
    other = submitted(tiny, "--chain", "2", f"run.dir={tiny.home / 'other'}")
    assert name not in {job["name"] for job in other["jobs"].values()}
    slurm.queue(f"812|{name}|RUNNING|None", *(f"{job}|{name}|PENDING|Dependency" for job in (813, 814)))
    assert json.loads(run("cancel", tiny.dir, "--wait", 0, "--json").stdout)["jobs"] == ["812", "813", "814"]
    assert "812 813 814" in slurm.cancelled
    assert "--batch" not in " ".join(slurm.cancelled), "the signal would end the script, which notes the end"


@pytest.mark.slow(3)
def test_a_submission_imports_no_torch(tmp_path: Path, slurm: SlurmCommands) -> None:
    make_shards(tmp_path / "tokens")
    words = [
        "outbound",
        "submit",
        "train",
        str(TinyRun.make(tmp_path).written()),
        "--cluster",
        "cluster.yaml",
    ]
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from pipeline.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False
    )
    assert told.stdout.splitlines()[-1] == "False", told.stderr
    assert (slurm.folder / "812.sbatch").exists()
