"""The plan of a crawl's first hop: CPU time and peak memory by the number of links.

    python -m benchmarks.crawl.plan domains.txt 500000 1000000 2000000 4000000

Sites are those of `simulate.py`, drawn at random for each link. Every run is a process of its own, which also
makes the links.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.crawl.simulate import sizes_of, with_tail
from benchmarks.measure import run
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Recipe
from dataprep.crawl import hop_plan, partitioning
from dataprep.crawl.hop_plan import TARGETS

BATCH = 50_000


def main() -> None:
    """Print the table, or, as a child, plan once and print what came of it."""
    domains, *numbers = sys.argv[1:]
    if numbers[0] == "once":
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(once(Path(domains), int(numbers[1]), Path(directory))))
        return
    print("| links | sites | partitions | CPU us a link | wall s | peak MB | plan MB |")
    print("|---|---|---|---|---|---|---|")
    for number in numbers:
        taken = run([sys.executable, "-m", "benchmarks.crawl.plan", domains, "once", number])
        sites, partitions, size = json.loads(taken.said)
        links, peak = int(number), taken.peak_bytes / 1e6
        cells = f"{taken.cpu_s / links * 1e6:.1f} | {taken.wall_s:.1f} | {peak:.0f} | {size / 1e6:.0f}"
        print(f"| {links:,} | {sites:,} | {partitions:,} | {cells} |", flush=True)


def once(domains: Path, links: int, directory: Path) -> tuple[int, int, int]:
    """Plan so many links; gives the sites, the partitions and the bytes of the plan."""
    corpus = Corpus.create(directory / "corpus", Recipe(name="plan"))
    increment = corpus.increment("one")
    plan = partitioning.make(corpus, increment, "round-000-1", drawn(domains, links), inputs={})
    size = sum(path.stat().st_size for path in hop_plan.folder(increment).iterdir())
    return sum(each.sites for each in plan.partitions), len(plan.partitions), size


def drawn(domains: Path, links: int) -> Iterator[pa.Table]:
    """Links whose sites are drawn by their sizes."""
    dice = np.random.default_rng(0)
    bounds = np.cumsum(np.array(with_tail(sizes_of(domains), 45_000_000)))
    for start in range(0, links, BATCH):
        rows = min(BATCH, links - start)
        number = np.searchsorted(bounds, dice.integers(0, bounds[-1], rows), side="right")
        site = pc.binary_join_element_wise("site-", pc.cast(pa.array(number), pa.string()), ".test", "")
        page = pc.cast(pa.array(np.arange(start, start + rows)), pa.string())
        keys = pa.py_buffer(dice.bytes(16 * rows))
        columns = [
            pc.binary_join_element_wise("http://", site, "/a/page/of/some/length/", page, ""),
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, keys]),
            site,
            pa.array(np.arange(start, start + rows)),
            pa.array([""] * rows),
            pa.nulls(rows, TARGETS.field("live").type),
        ]
        yield pa.Table.from_arrays(columns, schema=TARGETS)


if __name__ == "__main__":
    main()
