"""`outbound submit corpus` on a real Slurm, and `status`, `submit more` and `cancel` around it."""

from __future__ import annotations

import json
import random
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataprep.store.workers import Worker, all_workers
from support.desk import LOGIN, Demo, Desk, assert_equal, log
from support.pages import REPOSITORY, commands
from support.patience import patient, wait_until
from support.slurm_cluster import MISSING, Cluster, running
from support.toy_eval import models

NODES = 4

pytestmark = [
    pytest.mark.slow(150),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # What was stopped begins again after six seconds, not after two minutes.
    with running(tmp_path_factory.mktemp("slurm"), NODES, "AuthInfo=cred_expire=5\n") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def desk(demo: Demo, slurm: Cluster) -> Desk:
    setup = [f'PATH="{LOGIN.parent}:$PATH"']
    (demo.home / "cluster.yaml").write_text(yaml.safe_dump({"time": "10", "setup": setup}))
    return Desk(demo, slurm, "a small cluster")


def submit(
    desk: Desk, corpus: str, crawl: str, workers: int = NODES, code: int = 0, all_dumps: bool = False
) -> Any:
    dumps = sorted(desk.demo.dump.parent.glob("RS_*")) if all_dumps else [desk.demo.dump]
    words = ("submit", "corpus", corpus, *dumps, "--crawl", crawl, "--workers", workers)
    told = desk.run(*words, "--crawlers", 2, "--cluster", "cluster.yaml", "--json", code=code)
    return json.loads(told or "null")


def is_last(worker: Worker) -> bool:
    """Whether a worker at work is the last task of its array."""
    return worker.slurm["SLURM_ARRAY_TASK_ID"] == str(NODES - 1) and not worker.ended


def test_workers_on_four_nodes_one_stopped_and_queued_again_make_what_one_machine_makes(desk: Desk) -> None:
    corpus = desk.corpus("four", until="fetch")
    told = submit(desk, "four", "fast.yaml")
    _, _, array = told["jobs"]
    stopped = f"{array}_{NODES - 1}"  # the one whose own id is that of the array
    wait_until(lambda: any(map(is_last, all_workers(corpus))), "the last worker", 0.1)
    desk.slurm.ask("scancel", "--batch", "--signal=USR1", stopped)
    desk.wait_until_ended()
    logs = Path(told["logs"]).glob(f"{array}_*.log")
    starts = {path.stem: path.read_text().count(", start ") for path in logs}
    assert starts == {f"{array}_{n}": 1 for n in range(NODES - 1)} | {stopped: 2}
    status = desk.result("status", "four")["directories"][0]
    assert [(job["done"], job["tasks"]) for job in status["jobs"]] == [(1, 1), (2, 2), (NODES, NODES)]
    assert_equal(corpus, desk.demo.corpora["shard"])
    workers = all_workers(corpus)
    assert len({worker.slurm["SLURMD_NODENAME"] for worker in workers}) == NODES
    assert sum(worker.made for worker in workers) > NODES
    assert desk.run("corpus", "verify", "four").startswith("every file and every count is right")


def test_a_crawl_of_two_dumps_is_watched_joined_cancelled_and_gone_on_with(desk: Desk) -> None:
    desk.run("corpus", "init", "watched", "--recipe", "demo")
    before = len(desk.demo.web.requests)
    first = submit(desk, "watched", "slow.yaml", workers=2, all_dumps=True)
    _, links, crawl, array = first["jobs"]
    wait_until(lambda: len(desk.demo.web.requests) > before, "the first request of the crawl")
    told = desk.run("status", "watched")
    assert f"job {links} outbound-links-watched (2 tasks): 2 done" in told
    assert "ends last: " in told
    assert f"job {crawl} outbound-fetch-watched (2 tasks): 2 running" in told
    assert f"job {array} outbound-work-watched (2 tasks): 2 waiting (Dependency)" in told
    submit(desk, "watched", "fast.yaml", code=1, all_dumps=True)  # it is in the queue already
    (more,) = desk.result("submit", "more", "watched", "--workers", 1)["jobs"]
    wait_until(lambda: f"{more}_0 PENDING Dependency" in desk.queue(), "what waits for the crawl, too")

    down = desk.home / "down.conf"
    conf = Path(desk.environment["SLURM_CONF"]).read_text()
    down.write_text("".join(f"{line}\n" for line in conf.splitlines() if "SlurmctldPort" not in line))
    with down.open("a") as file:
        file.write("SlurmctldPort=9\n")
    told = desk.run("status", SLURM_CONF=str(down))
    assert "the queue is unknown: squeue: " in told
    assert f"job {crawl} outbound-fetch-watched (2 tasks): 2 unknown" in told

    assert json.loads(desk.run("cancel", "watched", "--wait", patient(60), "--json"))["killed"] == 0
    desk.wait_until_ended()
    codes = [(Path(first["logs"]) / f"{crawl}_{task}.code").read_text() for task in range(2)]
    assert codes == ["75\n", "75\n"]

    second = submit(desk, "watched", "fast.yaml", workers=2, all_dumps=True)
    desk.wait_until_ended()
    (status,) = desk.result("status", "watched")["directories"]
    assert [increment["built"] for increment in status["increments"]] == [True], log(second)
    assert desk.run("corpus", "verify", "watched").startswith("every file and every count is right")


def test_an_evaluation_by_three_workers_has_the_results_of_one_machine(desk: Desk) -> None:
    models.write_run(desk.home / "run")
    (desk.home / "sets").mkdir()
    drawn = random.Random(0)
    with (desk.home / "sets" / "held_out.jsonl").open("w") as file:
        for _ in range(60):  # some 10,000 tokens each, so that there are several partitions
            file.write(json.dumps({"text": " ".join(drawn.choices(models.WORDS, k=8000))}) + "\n")
    words = ("run", "--data", "sets", "--tasks", "held_out")
    alone = desk.result("eval", *words, "--nproc", 1, "--out", "by one")
    submitted = desk.result(
        "submit", "eval", *words, "--out", "by three", "--workers", 3, "--cluster", "cluster.yaml"
    )
    desk.wait_until_ended()
    (shared,) = (desk.home / "by three").glob("*/*/results.json")
    assert shared.read_bytes() == Path(alone["results"]).read_bytes(), log(submitted)
    assert len([*shared.parent.glob("answers/*.json")]) > 1
    assert all("held_out" in path.read_text() for path in Path(submitted["logs"]).glob("*_*.log"))
    (seen,) = desk.result("status", "by three")["directories"]
    assert [(job["kind"], job["done"], job["tasks"]) for job in seen["jobs"]] == [("eval", 3, 3)]
    assert "held_out" in desk.run("logs", "by three")


def test_the_commands_of_the_page_work(desk: Desk) -> None:
    shutil.copytree(REPOSITORY / "configs", desk.home / "configs")
    for command in commands("docs/slurm.md"):
        words = shlex.split(command.replace("--contact you@example.org", "--crawl fast.yaml"))
        assert words[0] == "outbound"
        if words[1] in ("submit", "tokenizer") and words[2] != "more":
            desk.wait_until_ended()
        desk.run(*words[1:])
    desk.wait_until_ended()
    seen = desk.result("status", "mine", "tokens")["directories"]
    jobs = [(job["kind"], job["done"]) for directory in seen for job in directory["jobs"]]
    assert jobs == [("select", 2), ("verify", 3), ("pack", 2)]
    (kept,) = desk.home.glob("mine/logs/verify-*.json")
    assert json.loads(kept.read_text())["problems"] == []
    logs = [path.read_text() for path in desk.home.glob("mine/logs/*-verify/*.log")]
    assert ["every file and every count is right" in each for each in logs] == [True] * 3
    assert (desk.home / "tokens" / "generation-1.json").exists()
