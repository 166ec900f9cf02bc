"""Workers on a real Slurm whose nodes are machines of their own, and what happens to such machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from dataprep.store.records import load_record
from dataprep.store.workers import Worker, all_workers, workers_folder
from support.desk import Demo, Desk, assert_equal, log
from support.leaks import contents
from support.machines import why_not
from support.pages import REPOSITORY
from support.patience import patient, wait_until
from support.slurm_cluster import MISSING, Cluster, running

NODES = [f"node{number}" for number in range(6)]
WORKERS, SPARE = NODES[:4], NODES[4:]

pytestmark = [
    pytest.mark.slow(200),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


@dataclass(frozen=True)
class Hindrances:
    """What happens to workers; `support.workers.hindered_outbound` heeds this folder."""

    folder: Path

    def hold(self, *nodes: str) -> None:
        """Let workers on these nodes stop before they commit a part."""
        for node in nodes:
            (self.folder / "held" / node).unlink(missing_ok=True)
            (self.folder / "hold" / node).touch()

    def let_go(self, *nodes: str) -> None:
        for node in nodes:
            (self.folder / "hold" / node).unlink()

    def held(self, node: str) -> Path:
        """The record that a worker there is about to commit."""
        file = self.folder / "held" / node
        wait_until(lambda: file.exists() and file.read_text(), f"a worker on {node} about to commit a part")
        return Path(file.read_text())

    def kill(self, part: str) -> None:
        """Let each process die that is about to commit this part."""
        (self.folder / "kill" / part).touch()

    def spare(self, part: str) -> None:
        (self.folder / "kill" / part).unlink()

    @property
    def lying_locks(self) -> Path:
        """A library to preload, by which flock(2) always succeeds and locks nothing."""
        library = self.folder / "lying.so"
        if not library.exists():
            source = "int flock(int file, int operation) { return 0; }"
            words = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", library, "-"]
            subprocess.run(words, input=source, text=True, check=True, timeout=patient())
        return library


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # What was stopped begins again after six seconds, and a lost node is noticed after half a minute.
    soon = "AuthInfo=cred_expire=5\nSlurmdTimeout=10\nReturnToService=2\n"
    with running(tmp_path_factory.mktemp("slurm"), len(NODES), soon, apart=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def hindrances(tmp_path_factory: pytest.TempPathFactory) -> Hindrances:
    folder = tmp_path_factory.mktemp("hindrances")
    for name in ("hold", "held", "kill"):
        (folder / name).mkdir()
    return Hindrances(folder)


@pytest.fixture(scope="module")
def desk(demo: Demo, slurm: Cluster, hindrances: Hindrances) -> Desk:
    outbound = demo.home / "bin" / "outbound"
    outbound.parent.mkdir()
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    module = f'"{sys.executable}" -m support.workers.hindered_outbound'
    outbound.write_text(
        f'#!/bin/sh\nexec env PYTHONPATH="{path}" HINDRANCES="{hindrances.folder}" {module} "$@"\n'
    )
    outbound.chmod(0o755)
    profile = {"time": "10", "setup": [f'PATH="{outbound.parent}:$PATH"']}
    first = profile | {"options": [f"--exclude={','.join(SPARE)}"]}
    (demo.home / "first.yaml").write_text(yaml.safe_dump(first))
    others = profile | {"options": [f"--exclude={','.join(WORKERS)}"]}
    (demo.home / "others.yaml").write_text(yaml.safe_dump(others))
    lying = first | {"env": {"LD_PRELOAD": str(hindrances.lying_locks)}}
    (demo.home / "lying.yaml").write_text(yaml.safe_dump(lying))
    return Desk(demo, slurm, "a cluster of machines")


def submit(desk: Desk, corpus: Path, profile: str) -> Any:
    words = ("submit", "select", corpus, "--cluster", profile, "--workers", len(WORKERS), "--json")
    return json.loads(desk.run(*words))


def first_on(corpus: Path, node: str) -> Worker:
    """The worker that was the first on a node."""
    return min((each for each in all_workers(corpus) if each.host == node), key=lambda each: each.started)


def has_ended(corpus: Path, node: str) -> bool:
    """Whether a worker on a node has ended by itself."""
    return any(each.host == node and each.ended for each in all_workers(corpus))


def task_of(worker: Worker) -> str:
    return f"{worker.slurm['SLURM_ARRAY_JOB_ID']}_{worker.slurm['SLURM_ARRAY_TASK_ID']}"


def code_of(submitted: Any, worker: Worker) -> Path:
    """Where the exit code of a worker's task is, once it has ended."""
    return Path(submitted["logs"]) / f"{task_of(worker)}.code"


def heartbeat(corpus: Path, worker: Worker) -> float:
    return (workers_folder(corpus) / f"{worker.name}.json").stat().st_mtime


def test_no_lost_disk_controller_worker_or_node_changes_a_byte(
    desk: Desk, slurm: Cluster, hindrances: Hindrances, tmp_path: Path
) -> None:
    corpus, machines = desk.corpus("faults", until="fetch"), slurm.machines
    killed, off, cut, full = WORKERS
    hindrances.hold(killed, off, cut)
    machines[full].fill(corpus / "increments", tmp_path)
    submitted = submit(desk, corpus, "first.yaml")
    lost = {node: hindrances.held(node) for node in (killed, off, cut)}

    wait_until(lambda: has_ended(corpus, full), "the end of the worker whose disk is full")
    worker = first_on(corpus, full)
    assert f"{corpus}/increments/" in worker.ended
    assert "No space left on device" in worker.ended
    assert (worker.made, worker.failed) == (0, 0)
    wait_until(code_of(submitted, worker).exists, "its exit code")
    machines[full].clear(corpus / "increments", tmp_path)

    worker = first_on(corpus, off)
    slurm.ask("scontrol", "suspend", task_of(worker))
    wait_until(lambda: machines[off].is_stopped(worker.pid), "a worker that Slurm has suspended")
    last = heartbeat(corpus, worker)
    slurm.ask("scontrol", "resume", task_of(worker))
    wait_until(lambda: heartbeat(corpus, worker) > last, "the same worker at work again")

    slurm.kill_controller()
    worker = first_on(corpus, killed)
    assert worker.open
    os.kill(machines[killed].processes()[worker.pid], signal.SIGKILL)
    hindrances.let_go(killed)
    wait_until(lambda: code_of(submitted, worker).exists(), "the exit code of the killed worker")
    assert code_of(submitted, worker).read_text() == "137\n"
    slurm.start_controller()
    wait_until(slurm.idle_nodes, "the controller")
    assert sorted(slurm.ask("squeue", "-h", "-t", "running", "-o", "%N").split()) == [off, cut]

    machines[off].power_off()
    sleeper = first_on(corpus, cut)
    assert sleeper.open
    machines[cut].cut()
    machines[cut].suspend(sleeper.pid)
    assert machines[cut].is_cut

    assert not any(path.exists() for path in lost.values())
    desk.run("submit", "more", corpus, "--workers", len(SPARE), "--cluster", "others.yaml")
    wait_until(lambda: all(path.exists() for path in lost.values()), "the parts of lost workers, by others")
    before = files_of(corpus, lost[cut])
    wait_until(
        lambda: log(submitted).count(", start 2") == 2, "the tasks of lost nodes begun again elsewhere"
    )

    hindrances.let_go(cut)
    machines[cut].resume(sleeper.pid)
    wait_until(lambda: has_ended(corpus, cut), "the end of the worker that has slept")
    machines[cut].heal()
    machines[off].power_on()
    hindrances.let_go(off)
    desk.wait_until_ended()
    assert files_of(corpus, lost[cut]) == before
    for attempt in corpus.rglob(".*.part"):  # what a process was writing when it was killed
        assert {killed, off} & {*attempt.name.split(".")}
        attempt.unlink()
    assert_equal(corpus, desk.demo.corpora["shard"])
    assert desk.run("corpus", "verify", corpus).startswith("every file and every count is right")
    desk.run("status", corpus)
    assert {worker.host for worker in all_workers(corpus) if worker.made} >= {*SPARE}
    wait_until(lambda: slurm.idle_nodes() == len(NODES), "all nodes back")


def files_of(corpus: Path, record: Path) -> dict[Path, int]:
    """Which file is the record, and which are those that it names: others of the same name are not these."""
    outputs = [corpus / output.path for output in load_record(record).outputs.values()]
    return {path: path.stat().st_ino for path in (record, *outputs)}


def test_what_is_forgotten_beside_workers_is_gone_though_locks_lie_and_a_worker_sleeps(
    desk: Desk, slurm: Cluster, hindrances: Hindrances
) -> None:
    corpus, alone = (desk.corpus(name, until="fetch") for name in ("forgetful", "alone"))
    sleeps, *busy, _ = WORKERS
    hindrances.hold(sleeps, *busy)
    submitted = submit(desk, corpus, "lying.yaml")
    part = hindrances.held(sleeps).stem
    for node in busy:
        hindrances.held(node)
    sleeper = first_on(corpus, sleeps)
    slurm.machines[sleeps].suspend(sleeper.pid)
    url, passage = own_passage(desk.demo.corpora["extract"], part)
    (pending,) = corpus.glob(f"increments/*/extract/{part}-*.parquet")  # no record names it yet
    assert any(passage in text for text in pq.read_table(pending)["text"].to_pylist())
    slurm.ask(
        *("srun", "--nodelist", SPARE[0], "env", f"LD_PRELOAD={hindrances.lying_locks}"),
        *(str(desk.home / "bin" / "outbound"), "corpus", "forget", str(corpus), "--url", url),
    )
    assert sleeps not in {worker.host for worker in all_workers(corpus)}  # it counts as dead
    assert not pending.exists()
    hindrances.let_go(sleeps, *busy)
    slurm.machines[sleeps].resume(sleeper.pid)
    desk.wait_until_ended()
    assert leaks(corpus, passage) == leaks(corpus, url) == [], log(submitted)
    assert desk.run("corpus", "verify", corpus).startswith("every file and every count is right")
    desk.run("corpus", "forget", alone, "--url", url)
    desk.run("corpus", "work", alone)
    assert kept(corpus) == kept(alone)


def own_passage(corpus: Path, part: str) -> tuple[str, str]:
    """The URL of a document of a part, and a line of its text that no other document has."""
    rows = {
        path.name.rpartition("-")[0]: pq.read_table(path, columns=["url", "text"]).to_pylist()
        for path in corpus.glob("increments/*/extract/*.parquet")
    }
    texts = [row["text"] for each in rows.values() for row in each]
    for row in rows[part]:
        for line in row["text"].splitlines():
            if len(line) > 60 and sum(line in text for text in texts) == 1:
                return row["url"], line
    raise AssertionError(f"{part} has no text of its own")


def leaks(corpus: Path, passage: str) -> list[Path]:
    """The files of a corpus that hold a passage, besides those that its workers have printed."""
    wanted = [passage.encode(), json.dumps(passage).encode()[1:-1]]
    logs = corpus / "logs"
    return [
        path
        for path, content in contents(corpus)
        if logs not in path.parents and any(each in content for each in wanted)
    ]


def kept(corpus: Path) -> list[str]:
    """The texts in the shards of the current build."""
    found = list[str]()
    for path in corpus.glob("builds/**/*.tar"):
        with tarfile.open(path) as tar:
            texts = [tar.extractfile(member) for member in tar if member.name.endswith(".txt")]
            found += [file.read().decode() for file in texts if file]
    return sorted(found)


def test_a_part_that_cannot_be_made_and_one_that_kills_are_named_and_made_once_that_is_mended(
    desk: Desk, hindrances: Hindrances
) -> None:
    corpus = desk.corpus("mended", until="extract")
    damaged, *_, deadly = sorted(corpus.glob("increments/*/extract/part-*.parquet"))
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[: len(sound) // 2])
    names = [path.name.rpartition("-")[0] for path in (damaged, deadly)]
    hindrances.kill(f"score.{names[1]}")
    submit(desk, corpus, "lying.yaml")
    desk.wait_until_ended()
    status = desk.result("status", corpus, code=1)["directories"][0]
    (step,) = status["steps"]
    assert (step["step"], step["parts"] - step["done"]) == ("score", 2)
    assert [(part["part"], part["given_up"]) for part in step["failed"]] == [(name, True) for name in names]
    failed = desk.run("logs", corpus, "--failed")
    assert f"{damaged}" in failed
    assert "its process was killed by SIGKILL" in failed
    assert "exit code 1" in failed

    damaged.write_bytes(sound)
    hindrances.spare(f"score.{names[1]}")
    submit(desk, corpus, "lying.yaml")
    desk.wait_until_ended()
    assert_equal(corpus, desk.demo.corpora["shard"])
    desk.run("status", corpus)


def test_the_lying_locks_of_the_nodes_let_two_in(slurm: Cluster, hindrances: Hindrances) -> None:
    script = (
        "import fcntl; files = [open('/dev/shm/locked', 'w') for _ in range(2)]\n"
        "for file in files: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "print('both have it')"
    )
    lying = f"LD_PRELOAD={hindrances.lying_locks}"
    assert slurm.ask("srun", "env", lying, sys.executable, "-c", script) == "both have it\n"
