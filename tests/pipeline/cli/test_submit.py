"""`outbound submit`: what people and programs get on stdout."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import pipeline.cli.submit  # noqa: F401 (registers the command)
from pipeline.cli.app import app
from pipeline.errors import RunError, UsageError

EXAMPLE = Path(__file__).parents[3] / "configs/clusters/example.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text("model: gpt2-small\n")
    return path


def outbound(*words: object) -> str:
    """Run a command; return what it printed on stdout."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception:
        raise done.exception
    return done.stdout


def test_a_dry_run_prints_the_script_and_submits_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no sbatch to be found
    script = outbound("submit", "train", config, "seed=7", "--cluster", EXAMPLE, "--dry-run")
    assert script.startswith("#!/usr/bin/env bash\n#SBATCH --job-name=outbound-train-tiny\n")
    assert f"outbound train {config} seed=7 " in script
    shown = json.loads(
        outbound("submit", "train", config, "seed=7", "--cluster", EXAMPLE, "--dry-run", "--json")
    )
    assert shown["script"] == script


def test_a_submitted_job_is_named_with_its_id_and_log(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 123\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = outbound("submit", "train", config, "--cluster", EXAMPLE)
    assert said == "job 123; its log: outbound-train-tiny-123.log\n"


def test_a_wrong_profile_is_a_usage_error(config: Path, tmp_path: Path) -> None:
    profile = tmp_path / "cluster.yaml"
    profile.write_text("nodes: 2\n")
    with pytest.raises(UsageError, match="gpus_per_node is missing"):
        outbound("submit", "train", config, "--cluster", profile)


def test_a_machine_without_slurm_is_named(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="sbatch is not on this machine"):
        outbound("submit", "train", config, "--cluster", EXAMPLE)
