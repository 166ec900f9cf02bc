"""A large Slurm array of workers that claim parts: starts and claims a second, and that no part is lost.

    python -m benchmarks.scale.array
    python -m benchmarks.scale.array --off 2              # two nodes lose their power in the middle
    python -m benchmarks.scale.array --ours 400 --tasks 64   # our own workers; 400 partitions

A real Slurm, started here: one controller and so many nodes of one core each, all on this machine. A task is
`benchmarks/scale/claimant.py`. It claims by `dataprep/store/claims.py` and makes parts that only take time,
since a worker of ours needs ten times as much to start. When a node loses its power, its daemon and all
processes of its task are killed at once.

With --ours, a task is `outbound corpus work`, which makes the build of a corpus of so many tiny partitions
(those of `benchmarks/records/run.py`), and the corpus is verified in the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import run
from benchmarks.records.run import DOCUMENTS, TEXT_BYTES, no_progress, write_texts
from benchmarks.scale.claimant import STEP
from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, Recipe
from dataprep.imports.rows import Fields
from dataprep.store.workers import all_workers

REPOSITORY = Path(__file__).parents[2]
sys.path.append(str(REPOSITORY / "tests"))

from support.slurm_cluster import Cluster, running  # noqa: E402

SETTINGS = """AuthInfo=cred_expire=5
SlurmdTimeout=10
MaxArraySize=10001
MaxJobCount=20000
ReturnToService=2
"""


def main() -> None:
    """Run the array and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=32)
    parser.add_argument("--parts", type=int, default=4, help="of each task")
    parser.add_argument("--seconds", type=float, default=0.1, help="of each part")
    parser.add_argument("--ours", type=int, metavar="PARTITIONS", help="run our own workers instead")
    parser.add_argument("--off", type=int, default=0, help="nodes that lose their power in the middle")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sc-") as directory:
        home, root = Path(directory) / "slurm", Path(directory) / "corpus"
        for folder in (home, root / "jobs", root / "records", root / "results"):
            folder.mkdir(parents=True)
        if chosen.ours:
            undecided(root, chosen.ours)
        begun = time.monotonic()
        with running(home, chosen.nodes, SETTINGS) as cluster:
            print(
                f"{chosen.nodes} nodes up after {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True
            )
            if chosen.ours:
                decide(cluster, home, root, chosen.tasks)
            else:
                report(root, chosen, *array(cluster, home, root, chosen))


def undecided(root: Path, partitions: int) -> None:
    """Make a corpus of so many partitions that are scored, without a build."""
    texts = root.with_name("texts")
    write_texts(texts, partitions)
    shutil.rmtree(root)
    recipe = Recipe(name="scale", collect=Collect(partition_mb=(DOCUMENTS - 0.5) * TEXT_BYTES / 1e6))
    corpus = Corpus.create(root, recipe)
    ingest.bring(corpus, "texts", "jsonl", [texts], Fields(), None, 2, no_progress)
    shutil.rmtree(root / "builds")


def decide(cluster: Cluster, home: Path, root: Path, tasks: int) -> None:
    """Let our own workers make the build, and print what that took."""
    begun = submit(cluster, home, f"-m pipeline.cli.main corpus work {root} --processes 1", tasks)
    while cluster.ask("squeue", "-h", "-o", "%i"):
        time.sleep(0.5)
    ended_s, workers = time.monotonic() - begun, all_workers(root)
    well = sum(worker.ended == "whole" for worker in workers)
    nodes = len({worker.slurm["SLURMD_NODENAME"] for worker in workers})
    made, failed = sum(worker.made for worker in workers), sum(worker.failed for worker in workers)
    print("| tasks | that ended well | nodes | s until the last one ended | parts made | failed tries |")
    print("|---|---|---|---|---|---|")
    print(f"| {tasks} | {well} | {nodes} | {ended_s:.1f} | {made} | {failed} |\n")
    print(run([sys.executable, "-m", "pipeline.cli.main", "corpus", "verify", root], None).said)
    for job in cluster.ask("scontrol", "show", "job", "-o").splitlines():
        if "JobState=COMPLETED" not in job:
            print(job, file=sys.stderr)
    for path in sorted(home.glob("job-*.log")):
        if "is the current build" not in (said := path.read_text()):
            print(path.name, said, file=sys.stderr)


def submit(cluster: Cluster, home: Path, words: str, tasks: int) -> float:
    """Submit an array of a Python program; returns when that began."""
    script = home / "job.sh"
    path = f"export PYTHONPATH={REPOSITORY}"
    script.write_text(f"#!/bin/sh\ncd {REPOSITORY}\n{path}\nexec {sys.executable} {words}\n")
    begun = time.monotonic()
    options = [f"--array=0-{tasks - 1}", "--requeue", f"--output={home}/job-%a.log", "--open-mode=append"]
    cluster.ask("sbatch", "--parsable", *options, str(script))
    return begun


def array(cluster: Cluster, home: Path, root: Path, chosen: argparse.Namespace) -> tuple[float, ...]:
    """Submit the array and wait for its end: seconds to submit it, to its last record and to its end."""
    parts = chosen.tasks * chosen.parts
    claimant = f"-m benchmarks.scale.claimant {root} {parts} {chosen.parts} {chosen.seconds}"
    begun = submit(cluster, home, claimant, chosen.tasks)
    submitted_s, whole_s, off = time.monotonic() - begun, 0.0, chosen.off
    while not whole_s or cluster.ask("squeue", "-h", "-o", "%i"):
        recorded = len(os.listdir(root / "records"))
        if off and recorded > parts / 3:
            for number in range(off):
                power_off(home, f"node{number}")
            print(f"{off} nodes off at {recorded} records", file=sys.stderr, flush=True)
            off = 0
        if not whole_s and recorded == parts:
            whole_s = time.monotonic() - begun
        time.sleep(0.5)
    return submitted_s, whole_s, time.monotonic() - begun


def power_off(home: Path, node: str) -> None:
    """End a node's daemon, and all that runs on it."""
    daemon = f"slurmd\0-D\0-f\0{home}/slurm.conf\0-N\0{node}\0"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_text()
            environment = (process / "environ").read_text().split("\0")
            of_cluster = f"SLURM_CONF={home}/slurm.conf" in environment
            ours = of_cluster and f"SLURMD_NODENAME={node}" in environment
            if command.endswith(daemon) or ours:
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if ours and (Path("/proc") / str(parent) / "comm").read_text().startswith("slurmstepd"):
                    os.kill(parent, signal.SIGKILL)
                os.kill(int(process.name), signal.SIGKILL)


def report(
    root: Path, chosen: argparse.Namespace, submitted_s: float, whole_s: float, ended_s: float
) -> None:
    """Print the table, after every record was read."""
    results: list[dict[str, Any]] = [json.loads(path.read_text()) for path in (root / "results").iterdir()]
    parts = chosen.tasks * chosen.parts
    records = Counter(json.loads(path.read_text()) for path in (root / "records").iterdir())
    assert sum(records.values()) == parts
    begun = sorted(each["begun"] for each in results)
    claims = Counter(path.name.partition(".")[0] for path in (root / "jobs" / f"{STEP}.claims").iterdir())
    nodes = {each["slurm"]["SLURMD_NODENAME"] for each in results}
    tasks = {each["slurm"]["SLURM_ARRAY_TASK_ID"] for each in results}
    assert len(tasks) == chosen.tasks, len(tasks)
    rows = {
        "tasks; nodes that ran some; nodes switched off": f"{len(tasks):,}; {len(nodes)}; {chosen.off}",
        "seconds: sbatch; until the last part was recorded; until the last task ended": (
            f"{submitted_s:.2f}; {whole_s:.1f}; {ended_s:.1f}"
        ),
        "starts a second": f"{(len(begun) - 1) / (begun[-1] - begun[0]):.1f}",
        "parts; recorded twice or not at all": f"{parts:,}; 0",
        "parts claimed more than once": f"{sum(number > 1 for number in claims.values())}",
        "claims a second": f"{sum(claims.values()) / whole_s:.1f}",
        "claims that another worker was first at": f"{sum(each['races_lost'] for each in results):,}",
    }
    for what in ("look", "claim", "record"):
        taken = 1e3 * np.concatenate([each[what] for each in results])
        middle, high = np.percentile(taken, [50, 95])
        rows[f"ms of a {what}: median, 95th percentile"] = f"{middle:.1f}, {high:.1f}"
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
