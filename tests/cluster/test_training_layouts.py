"""Training over several processes of several nodes of a real Slurm, and resumed on other numbers of nodes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from support.runs import TinyRun
from support.slurm_cluster import MISSING, Cluster, running
from support.training_jobs import Login

pytestmark = [
    pytest.mark.slow(60),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("slurm"), nodes=4) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory, slurm: Cluster) -> Login:
    return Login(tmp_path_factory.mktemp("login"), slurm)


@pytest.fixture(scope="module")
def spread(login: Login) -> TinyRun:
    """Two stages of two ranks, on two nodes of two processes."""
    run = TinyRun.make(login.home, "spread")
    (job,) = login.submit(run, login.profile(nodes=2, tasks=2))
    job.wait_until_ended()
    return run


def test_two_stages_of_two_ranks_over_two_nodes_train_as_on_one_machine_to_the_last_digit(
    login: Login, spread: TinyRun
) -> None:
    local = TinyRun.make(login.home, "local")
    local.train(nproc=4)
    assert spread.timeless() == local.timeless()


@pytest.mark.parametrize(("nodes", "tasks", "stages"), [(1, 2, 2), (4, 1, 1)])
def test_what_two_nodes_have_begun_goes_on_on_one_and_on_four(
    login: Login, spread: TinyRun, nodes: int, tasks: int, stages: int
) -> None:
    moved = spread.copy(f"moved to {nodes}")
    shutil.rmtree(moved.attempt / "checkpoints" / "step-00000012")
    (job,) = login.submit(moved, login.profile(nodes, tasks), f"parallel.pipeline_stages={stages}")
    job.wait_until_ended()
    assert moved.summary()["resumes"] == [8]
    assert moved.losses() == pytest.approx(spread.losses(), abs=1e-5)
    reads = [[row.get("stream_hash") for row in run.metrics()] for run in (moved, spread)]
    assert reads[0] == reads[1]
