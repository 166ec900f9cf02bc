"""Workers of `outbound corpus work`: two on two cores against one, on real pages and on generated documents.

    python -m benchmarks.workers.run ../shared/data/web/pages.warc.gz     # extract, score and the build
    python -m benchmarks.workers.run --documents 100000                   # the build alone

Each run starts from a copy of the same corpus: of real pages that are fetched and not extracted, or of
generated documents that are scored. A run is one command of one process, two such commands started together,
or one command of two processes. Every command may use all cores. The seconds are those of whole commands,
start-up included; the end of a stage is the time of its step file.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dedup.run import PEERS, add, planted
from benchmarks.extract.run import crawled
from benchmarks.measure import run
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Collect, NearDuplicates, Recipe, Select
from dataprep.warc.reader import WarcRecord, read_warc

RUNS = {"one": [1], "two": [1, 1], "one of two processes": [2]}
"""The processes of each command of a run, by the name of the run."""
SHARD_MB = 8
"""Small shards and partitions: there are as many parts for each worker as a large corpus has."""
STAGES = {"extract": "increments/*", "score": "increments/*", "verdicts": "builds/*/*", "shard": "builds/*/*"}
"""Where the step file of a stage lies."""


@dataclass(frozen=True)
class Taken:
    """Seconds of a run: CPU of all its processes, wall time, and wall time of each stage."""

    cpu_s: float
    wall_s: float
    stages_s: dict[str, float]


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("warc", type=Path, nargs="?", help="a gzipped WARC file of response records")
    parser.add_argument("--pages", type=int, default=2905, help="taken evenly from the file")
    parser.add_argument("--documents", type=int, help="measure the build of generated documents instead")
    parser.add_argument("--partition-mb", type=float, default=0.5, help="of the pages")
    parser.add_argument("--partition", type=int, default=2048, help="generated documents of a partition")
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "corpus"
        if chosen.documents:
            generated(root, chosen.documents, chosen.partition)
        elif chosen.warc:
            fetched(root, chosen.warc, chosen.pages, chosen.partition_mb)
        else:
            parser.error("a WARC file or --documents is needed")
        compare(root, chosen.repeats)


def fetched(root: Path, warc: Path, pages: int, partition_mb: float) -> None:
    """Make a corpus of real pages that are fetched and not extracted."""
    records = [piece for piece in read_warc(warc) if isinstance(piece, WarcRecord)]
    records = records[:: max(1, len(records) // pages)][:pages]
    crawled(warc, records, root, Recipe(name="workers", collect=Collect(partition_mb=partition_mb)))
    print(f"{len(records):,} pages of {sum(record.length for record in records) / 1e6:.1f} MB\n")


def generated(root: Path, documents: int, partition: int) -> None:
    """Make a corpus of generated documents that are scored."""
    corpus = Corpus.create(
        root, Recipe(name="workers", select=Select(shard_mb=SHARD_MB, near_duplicates=NearDuplicates()))
    )
    add(corpus, "one", planted(documents, 200).texts, 0, partition)
    run([sys.executable, PEERS / "ours.py", root, "-", "sign"])
    print(f"{documents:,} documents\n")


def compare(root: Path, repeats: int) -> None:
    """Print what each run takes, and how much faster it is than that of one worker."""
    taken: dict[str, list[Taken]] = {name: [] for name in RUNS}
    for repeat in range(repeats):
        for name, processes in RUNS.items():
            copy = root.with_name(f"{name}-{repeat}")
            shutil.copytree(root, copy)
            taken[name].append(worked(copy, processes))
            print(name, taken[name][-1], file=sys.stderr, flush=True)
            shutil.rmtree(copy)
    print("| workers | CPU s | wall s | speed | wall s (speed) of each stage |\n|---|---|---|---|---|")
    best = {name: min(each, key=lambda one: one.wall_s) for name, each in taken.items()}
    one = best["one"]
    for name, each in best.items():
        stages = [
            f"{stage} {wall_s:.1f} ({one.stages_s[stage] / wall_s:.2f})"
            for stage, wall_s in each.stages_s.items()
        ]
        speed = one.wall_s / each.wall_s
        print(f"| {name} | {each.cpu_s:.1f} | {each.wall_s:.1f} | {speed:.2f} | {', '.join(stages)} |")


def worked(root: Path, processes: list[int]) -> Taken:
    """Let workers of so many processes each, started together, do all that is left to do in a corpus."""
    commands = [
        [sys.executable, "-m", "pipeline.cli.main", "corpus", "work", root, "--processes", str(number)]
        for number in processes
    ]
    begun, now = time.time(), time.monotonic()
    with ThreadPoolExecutor(len(commands)) as threads:
        used = list(threads.map(lambda command: run(command, None), commands))
    wall_s = time.monotonic() - now
    stages_s, before = {}, begun
    for stage, place in STAGES.items():
        (path,) = root.glob(f"{place}/{stage}.step.json")
        if (written := path.stat().st_mtime) > begun:
            stages_s[stage] = written - before
            before = written
    return Taken(sum(each.cpu_s for each in used), wall_s, stages_s)


if __name__ == "__main__":
    main()
