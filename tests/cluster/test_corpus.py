"""`outbound submit corpus` on a real Slurm, and `status`, `submit more` and `cancel` around it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataprep.store.workers import Worker, all_workers
from pipeline.demo.dumps import write_dumps
from pipeline.demo.library import rendered
from pipeline.demo.sites import build
from pipeline.demo.web import EmbeddedWeb
from support.pages import REPOSITORY, commands
from support.patience import patient, wait_until
from support.slurm_cluster import MISSING, Cluster, running

NODES = 4
LOGIN = Path(sys.executable)

pytestmark = [
    pytest.mark.slow(150),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]


class Desk:
    """A folder on a login node, with a dump of the demo and the web to which it links."""

    def __init__(self, home: Path, dump: Path, web: EmbeddedWeb, slurm: Cluster) -> None:
        self.home, self.dump, self.web, self.slurm = home, dump, web, slurm
        self.environment = slurm.environment | {"XDG_STATE_HOME": str(home / "state")}

    def run(self, *words: object, code: int = 0, **environment: str) -> str:
        """What a command prints on stdout; it must end with this code."""
        ended = subprocess.run(
            [LOGIN.with_name("outbound"), *map(str, words)],
            cwd=self.home,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(),
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout

    def result(self, *words: object) -> Any:
        return json.loads(self.run(*words, "--json"))

    def queue(self) -> list[str]:
        return self.slurm.ask("squeue", "-h", "-r", "-o", "%i %T %r").splitlines()

    def wait_until_ended(self) -> None:
        wait_until(lambda: not self.queue(), "the end of all jobs", 0.5)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # What was stopped begins again after six seconds, not after two minutes.
    with running(tmp_path_factory.mktemp("slurm"), NODES, "AuthInfo=cred_expire=5\n") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, slurm: Cluster) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("a desk")  # with a space in its name
    sites = build(rendered(home / "pages.jsonl", True))
    dump, _ = write_dumps(sites.links, home)
    setup = [f'PATH="{LOGIN.parent}:$PATH"']
    (home / "cluster.yaml").write_text(yaml.safe_dump({"time": "10", "setup": setup}))
    with EmbeddedWeb(sites) as web:
        crawl = {"contact": "you@example.org", "allow_loopback": True, "connect_to": [web.connect_to]}
        (home / "fast.yaml").write_text(yaml.safe_dump(crawl | {"delay_s": 0}))
        (home / "slow.yaml").write_text(yaml.safe_dump(crawl | {"delay_s": 60}))
        yield Desk(home, dump, web, slurm)


def submit(desk: Desk, corpus: str, crawl: str, workers: int = NODES, code: int = 0) -> Any:
    words = ("submit", "corpus", corpus, desk.dump, "--crawl", crawl, "--workers", workers, "--crawlers", 2)
    told = desk.run(*words, "--cluster", "cluster.yaml", "--json", code=code)
    return json.loads(told or "null")


def files(corpus: Path) -> dict[str, bytes]:
    """What makes up a corpus, by name: all but the traces of those that worked on it."""
    named = {str(path.relative_to(corpus)): path for path in corpus.rglob("*") if path.is_file()}
    traces = ("jobs/", "logs/")
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if path.name != ".lock" and not name.startswith(traces)
    }


def is_last(worker: Worker) -> bool:
    """Whether a worker at work is the last task of its array."""
    return worker.slurm["SLURM_ARRAY_TASK_ID"] == str(NODES - 1) and not worker.ended


def test_workers_on_four_nodes_one_stopped_and_queued_again_make_what_one_machine_makes(desk: Desk) -> None:
    desk.run("corpus", "init", "one", "--recipe", "demo")
    add = ("corpus", "add", "one", desk.dump, "--crawl", "fast.yaml")
    desk.run(*add, "--until", "fetch")
    shutil.copytree(desk.home / "one", desk.home / "four")
    desk.run(*add)
    told = submit(desk, "four", "fast.yaml")
    _, _, array = told["jobs"]
    stopped = f"{array}_{NODES - 1}"  # the one whose own id is that of the array
    wait_until(lambda: any(map(is_last, all_workers(desk.home / "four"))), "the last worker", 0.1)
    desk.slurm.ask("scancel", "--batch", "--signal=USR1", stopped)
    desk.wait_until_ended()
    logs = Path(told["logs"]).glob(f"{array}_*.log")
    starts = {path.stem: path.read_text().count(", start ") for path in logs}
    assert starts == {f"{array}_{n}": 1 for n in range(NODES - 1)} | {stopped: 2}
    status = desk.result("status", "four")["directories"][0]
    assert [(job["done"], job["tasks"]) for job in status["jobs"]] == [(1, 1), (2, 2), (NODES, NODES)]
    one, four = files(desk.home / "one"), files(desk.home / "four")
    assert sorted(one) == sorted(four)
    assert [name for name in one if one[name] != four[name]] == []
    workers = all_workers(desk.home / "four")
    assert len({worker.slurm["SLURMD_NODENAME"] for worker in workers}) == NODES
    assert sum(worker.made for worker in workers) > NODES
    assert desk.run("corpus", "verify", "four").startswith("every file and every count is right")


def test_a_crawl_is_watched_joined_cancelled_and_gone_on_with(desk: Desk) -> None:
    desk.run("corpus", "init", "watched", "--recipe", "demo")
    before = len(desk.web.requests)
    first = submit(desk, "watched", "slow.yaml", workers=2)
    _, crawl, array = first["jobs"]
    wait_until(lambda: len(desk.web.requests) > before, "the first request of the crawl")
    told = desk.run("status", "watched")
    assert f"job {crawl} outbound-fetch-watched (2 tasks): 2 running" in told
    assert f"job {array} outbound-work-watched (2 tasks): 2 waiting (Dependency)" in told
    submit(desk, "watched", "fast.yaml", code=1)  # it is in the queue already
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

    second = submit(desk, "watched", "fast.yaml", workers=2)
    desk.wait_until_ended()
    (status,) = desk.result("status", "watched")["directories"]
    assert [increment["built"] for increment in status["increments"]] == [True], log(second)
    assert desk.run("corpus", "verify", "watched").startswith("every file and every count is right")


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
    assert jobs == [("select", 2), ("verify", 1), ("pack", 2)]
    assert (desk.home / "tokens" / "generation-1.json").exists()


def log(told: Any) -> str:
    """All that the jobs of a submission have written."""
    return "\n".join(path.read_text() for path in sorted(Path(told["logs"]).glob("*.log")))
