"""The checkpoints of a run that trains, evaluated as they come."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.checkpoint.attempts import Attempt
from pipeline.eval import watch
from pipeline.eval.trained_model import TrainedModel
from pipeline.eval.watch import each_checkpoint
from slurm.codes import RESUME_EXIT
from support import cli
from support.toy_eval import models, outbound


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return models.write_run(tmp_path / "run", step=100)


def steps(found: Iterator[TrainedModel]) -> list[int | None]:
    return [model.step for model in found]


def end(run: Path, code: int) -> None:
    Attempt(run, 1).end(code, "as the test wants")


def test_checkpoints_come_in_their_order_until_the_run_has_ended(run: Path, tmp_path: Path) -> None:
    models.write_run(run, step=200, seed=1)
    found = each_checkpoint(run, tmp_path / "out", poll_s=0.01)
    assert [next(found).step, next(found).step] == [100, 200]
    models.write_run(run, step=300, seed=2)
    assert next(found).step == 300
    end(run, 0)
    assert steps(found) == []


def test_a_run_that_was_stopped_to_go_on_has_not_ended(run: Path) -> None:
    assert not watch.has_ended(run)
    end(run, RESUME_EXIT)
    assert not watch.has_ended(run)
    end(run, 0)
    assert watch.has_ended(run)


def test_a_checkpoint_that_goes_while_another_is_evaluated_is_passed_over(run: Path, tmp_path: Path) -> None:
    models.write_run(run, step=200, seed=1)
    end(run, 0)
    found = each_checkpoint(run, tmp_path / "out", poll_s=0.01)
    assert next(found).step == 100
    shutil.rmtree(next(run.glob("attempts/*/checkpoints/step-00000200")))
    assert steps(found) == []


def test_a_checkpoint_that_a_killed_evaluation_holds_comes_first(run: Path, tmp_path: Path) -> None:
    (model,) = _until_ended(run, tmp_path)
    model.hold(tmp_path / "out" / "step-00000100-abc" / "toy-abc" / "held")
    shutil.rmtree(next(run.glob("attempts/*/checkpoints/step-00000100")))
    models.write_run(run, step=200, seed=1)
    assert steps(each_checkpoint(run, tmp_path / "out")) == [100, 200]


def test_a_checkpoint_is_held_beside_what_a_killed_process_left(run: Path, tmp_path: Path) -> None:
    """A process with the same pid, of which a container has few."""
    (model,) = _until_ended(run, tmp_path)
    (tmp_path / "held" / f".{os.getpid()}" / "checkpoints" / "writing-step-00000100").mkdir(parents=True)
    model.hold(tmp_path / "held")
    assert model.held_at(tmp_path / "held").exists()


@pytest.mark.slow(2)
def test_the_command_evaluates_each_checkpoint_once(run: Path, tmp_path: Path) -> None:
    models.write_run(run, step=200, seed=1)
    end(run, 0)
    words = ("--data", models.write_sets(tmp_path / "data", 2), "--watch", "--nproc", 1, "--json")
    with outbound.installed():
        ended = cli.run("eval", run, *words)
    assert ended.returncode == 0, ended.stderr
    printed = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [each["step"] for each in printed] == [100, 200]
    assert len({each["results"] for each in printed}) == 2
    with outbound.installed():
        assert cli.result("eval", "--compare", *(each["results"] for each in printed))["differences"]


def _until_ended(run: Path, tmp_path: Path) -> list[TrainedModel]:
    end(run, 0)
    return [*each_checkpoint(run, tmp_path / "out")]
