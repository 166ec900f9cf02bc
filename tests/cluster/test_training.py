"""`outbound submit train` on a real Slurm: what is refused, what changes nothing, and chains."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pipeline.checkpoint import attempts
from pipeline.finetune.predictions import path_of
from pipeline.finetune.record import RECORD
from slurm.codes import RESUME_EXIT, USAGE_EXIT
from slurm.starts import AGAIN, DONE, GIVEN_UP
from support.finetuning import Tuning, write_pretrained
from support.patience import wait_until
from support.runs import TinyRun
from support.slurm_cluster import MISSING, Cluster, running
from support.training_jobs import Login

OUTER = {
    "SLURM_JOB_ID": "99",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "0",
    "SLURM_NTASKS": "1",
    "SLURM_NNODES": "1",
    "SLURM_JOB_NODELIST": "elsewhere",
    "SLURM_CPUS_PER_TASK": "64",
    "SLURM_MEM_PER_CPU": "1000",
    "SLURM_MEM_PER_NODE": "1000",
    "SBATCH_PARTITION": "nowhere",
    "SBATCH_REQUEUE": "0",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "9",
    "TORCHELASTIC_RUN_ID": "none",
    "CUDA_VISIBLE_DEVICES": "7",
}
"""What a shell has that runs inside a job, or below torchrun."""

LONGER = "train.tokens=12_800"

pytestmark = [
    pytest.mark.slow(60),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Only this plugin deals out GPUs to the processes of a job.
    gpus = "SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\n"
    with running(tmp_path_factory.mktemp("slurm"), nodes=2, settings=gpus) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory, slurm: Cluster) -> Login:
    return Login(tmp_path_factory.mktemp("a login node"), slurm)  # with a space in its name


def test_the_environment_of_an_outer_job_changes_nothing_and_a_second_copy_is_refused(
    login: Login, slurm: Cluster
) -> None:
    alone = TinyRun.make(login.home, "alone")
    alone.train(LONGER)
    run = TinyRun.make(login.home, "a run")
    with login.slow_steps():
        (job,) = login.submit(run, login.profile(nodes=2), LONGER, **OUTER)
        job.wait_for_start(1)
        refused = login.refused("submit", "train", run.written(), LONGER, "--cluster", login.profile(nodes=2))
        assert f"job {job.number}" in refused
        assert slurm.ask("squeue", "-h", "-o", "%A").split() == [job.number]
    job.wait_until_ended()
    assert run.timeless() == alone.timeless()
    assert attempts.numbers(run.dir) == [1]


def test_a_misspelt_setting_is_refused_before_anything_is_submitted(login: Login, slurm: Cluster) -> None:
    run = TinyRun.make(login.home, "misspelt")
    words = (run.written(), "train.tokenz=1600", "--cluster", login.profile(nodes=2))
    refused = login.refused("submit", "train", *words, code=USAGE_EXIT)
    assert "train.tokenz" in refused
    assert "tokens" in refused.replace("train.tokenz", "")
    assert not run.dir.exists()
    assert not slurm.ask("squeue", "-h")


def test_a_job_for_gpus_is_not_trained_on_cpus(login: Login) -> None:
    run = TinyRun.make(login.home, "without GPUs")
    (job,) = login.submit(run, login.profile(nodes=2, gpus_per_node=1, tasks_per_node=None))
    job.wait_until_ended("FAILED")
    assert job.told()["ExitCode"] == f"{USAGE_EXIT}:0"
    assert job.told()["Restarts"] == "0"
    assert not job.rows(1)
    (start,) = job.starts()
    assert start.next.startswith(GIVEN_UP)
    assert "gpus_per_node: 1" in start.cause


def test_a_chain_trains_to_the_end_through_a_stop_and_what_is_left_of_it_trains_nothing(
    login: Login, slurm: Cluster
) -> None:
    run = TinyRun.make(login.home, "a chain")
    with login.slow_steps():
        first, second, third = login.submit(run, login.profile(nodes=2), LONGER, "--chain", 3)
        first.wait_for_start(1, steps=2)
        slurm.ask("scancel", "--signal=USR1", first.number)
    first.wait_until_ended("FAILED")
    assert first.told()["ExitCode"] == f"{RESUME_EXIT}:0"
    second.wait_until_ended()
    third.wait_until_ended()
    assert [(start.job, start.code) for start in first.starts()] == [
        (first.number, RESUME_EXIT),
        (second.number, 0),
    ]
    assert first.starts()[-1].next == DONE
    assert run.summary()["resumes"] == [attempts.read(run.dir, 1).ended.step]  # type: ignore[union-attr]
    assert attempts.numbers(run.dir) == [1, 2]


def test_a_fine_tuning_over_two_nodes_goes_on_after_a_stop_as_on_one_machine(
    login: Login, slurm: Cluster
) -> None:
    pretrained = write_pretrained(login.home / "gpt1")
    homes = [login.home / name for name in ("tuned alone", "tuned by jobs")]
    for home in homes:
        home.mkdir()
    alone, tuning = (Tuning.make(home, pretrained, epochs=40, seeds=[0, 1]) for home in homes)
    login.outbound("finetune", alone.written(), "--nproc", 2)
    first, second = login.submit(tuning, login.profile(nodes=2), "--chain", 2)
    wait_until((tuning.seed_0 / RECORD).exists, "the model of the first seed", 0.05)
    slurm.ask("scancel", "--signal=USR1", first.number)
    first.wait_until_ended("FAILED")
    assert first.told()["ExitCode"] == f"{RESUME_EXIT}:0"
    second.wait_until_ended()
    assert [start.next for start in second.starts()] == [AGAIN, DONE]
    checked = json.loads((attempts.folder(tuning.seed_0, 1) / "node_check.json").read_text())
    assert [rank["node"] for rank in checked["ranks"]] == ["node0", "node1"]
    for seed in ("seed-0", "seed-1"):
        names = (path_of(each.dir / seed, "dev") for each in (alone, tuning))
        ours, theirs = (path.read_text().replace("tuned alone", "tuned by jobs") for path in names)
        assert ours == theirs
