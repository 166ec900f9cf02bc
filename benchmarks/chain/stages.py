"""The whole chain in one process and one worker; prints what each stage used, as JSON.

`stages.py CORPUS dump FILE PORT` crawls a dump's links; `stages.py CORPUS texts FILE` imports JSON lines.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dataprep import ingest
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Recipe
from dataprep.crawl.progress import Look
from dataprep.crawl.settings import CrawlSettings
from dataprep.extract import stage as extract
from dataprep.imports.rows import Fields
from dataprep.pack import pack
from dataprep.pack.packing import Layout
from dataprep.tokenizer import train

DEDUP = {"order", "ranks", "candidates", "exact_duplicates", "shingles", "near_duplicates", "verdicts"}
SAMPLE_BYTES = 4 << 20
VOCABULARY = 8192


class Meter:
    """By stage: CPU and wall seconds, of this process and those that it has waited for, and its peak."""

    def __init__(self) -> None:
        self.used: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.peaks: dict[str, int] = defaultdict(int)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what the block uses as this stage's."""
        cpu, wall = cpu_seconds(), time.monotonic()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        yield
        extract.sandboxes.close()  # waits for its children, and so counts them
        self.used[name][0] += cpu_seconds() - cpu
        self.used[name][1] += time.monotonic() - wall
        self.peaks[name] = max(self.peaks[name], peak_bytes())
        print(name, *self.used[name], self.peaks[name], file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        """A stage that says itself when it begins and ends."""
        with self.stage("dedup" if title in DEDUP else title):
            yield lambda _: None


@contextmanager
def unwatched(increment: Increment) -> Iterator[Look]:
    """A crawl that nobody looks at."""
    yield lambda _: None


@contextmanager
def unmeasured(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A stage that is measured from outside."""
    yield lambda _: None


def cpu_seconds() -> float:
    """User and system time of this process and of children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak_bytes() -> int:
    """The most memory that this process has had since its peak began anew, pages of maps included."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run the chain that the command line names."""
    root, kind, source = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    corpus = Corpus.create(root, Recipe(name="benchmark"))
    meter = Meter()
    if kind == "dump":
        crawl = CrawlSettings(
            contact="benchmark@example.org",
            allow_loopback=True,
            connect_to=(f"::127.0.0.1:{sys.argv[4]}",),
            delay_s=0,
        )
        for until in ("links", "fetch"):
            with meter.stage(until):
                ingest.add(corpus, "a", [source], crawl, 1, until, unmeasured, unwatched)
        ingest.add(corpus, "a", [source], crawl, 1, "shard", meter.progress, unwatched)
    else:
        ingest.bring(corpus, "a", "jsonl", [source], Fields(), None, 1, meter.progress)
    build = corpus.current_build()
    with meter.stage("tokenizer"):
        train.train(train.sample(corpus, build, SAMPLE_BYTES, lambda _: None), VOCABULARY, root / "bpe")
    with meter.stage("pack"):
        pack.pack(corpus, build, root / "bpe", root / "tokens", Layout(), 1, unmeasured)
    kept = sum(record.passed for record in build.parts("shard"))
    (increment,) = corpus.increments()
    documents = sum(record.passed for record in increment.parts("extract"))
    files = [path for path in root.rglob("*") if path.is_file()]
    json.dump(
        {
            "documents": documents,
            "kept": kept,
            "used": meter.used,
            "peaks": meter.peaks,
            "files": len(files),
            "bytes": sum(path.stat().st_size for path in files),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
