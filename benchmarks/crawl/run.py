"""Our crawler against scrapy and bare aiohttp: CPU seconds and wall time for the same pages, and our memory.

    python -m benchmarks.crawl.run                  # the comparison, about two minutes
    python -m benchmarks.crawl.run --memory 10000 100000

A process of its own serves generated pages from one core; the contenders run on another, one after the other
in turn, each a process whose whole CPU time counts, start-up included. scrapy gets a venv of its own, made on
the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Run, middle, peer_python, run

PEERS = Path(__file__).parent / "peers"
WEB = Path(__file__).with_name("web.py")
WEB = Path(__file__).with_name("web.py")
SCRAPY = ("scrapy==2.19.0", "warcio==1.8.1", "uvloop==0.23.0")
OURS, SCRAPY_WARC, BARE = "ours, WARC", "scrapy, WARC", "bare aiohttp, writes nothing"
GOALS = {SCRAPY_WARC: 0.5, BARE: 2.0}
"""Our CPU seconds a page are to be at most this many times the peer's."""


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pages", type=int, default=3200)
    parser.add_argument("--sites", type=int, default=32, help="all at once, one request at a time to each")
    parser.add_argument("--median-bytes", type=int, default=25_000, help="of a page, as HTML")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="+", metavar="URLS", help="measure our memory instead")
    parser.add_argument("--venv", type=Path, default=Path(".venv-scrapy"), help="where scrapy is, or goes")
    chosen = parser.parse_args()
    if chosen.memory:
        memory(chosen.memory)
    else:
        compare(
            chosen.pages, chosen.sites, chosen.median_bytes, chosen.repeats, peer_python(chosen.venv, SCRAPY)
        )


def compare(pages: int, sites: int, median_bytes: int, repeats: int, scrapy: Path) -> None:
    """Print CPU and wall time a page of every contender, and ours as a ratio to each."""
    pages -= pages % sites
    ours = Path(sys.executable)
    commands = {
        OURS: (ours, "outbound.py"),
        SCRAPY_WARC: (scrapy, "scrapy_warc.py"),
        BARE: (ours, "bare_aiohttp.py"),
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    with serving(pages, median_bytes) as port, tempfile.TemporaryDirectory() as directory:
        job = Path(directory) / "job.json"
        job.write_text(json.dumps({"port": port, "sites": split(pages, sites)}))
        for turn in range(repeats):
            for name, (python, script) in commands.items():
                out = Path(directory) / f"{turn}-{script}"
                out.mkdir()
                runs[name].append(crawled([python, PEERS / script, job, out], pages))
    cpu = {name: middle(each, "cpu_s") / pages for name, each in runs.items()}
    wall = {name: middle(each, "wall_s") / pages for name, each in runs.items()}
    print(f"{pages:,} pages of {sites} sites, {median_bytes:,} bytes of HTML (median), {repeats} runs each\n")
    print("| | CPU ms a page | wall ms a page | pages/s | ours / it, CPU | goal | ours / it, wall |")
    print("|---|---|---|---|---|---|---|")
    for name in commands:
        took = f"{cpu[name] * 1e3:.2f} | {wall[name] * 1e3:.2f} | {1 / wall[name]:,.0f}"
        ratio = f"{cpu[OURS] / cpu[name]:.2f} | {goal(name)} | {wall[OURS] / wall[name]:.2f}"
        print(f"| {name} | {took} | {ratio} |")


def memory(urls: list[int]) -> None:
    """Print the peak memory of our crawler for each number of URLs, on pages of about 1 kB, 1,000 sites."""
    sites = 1000
    print("| URLs | peak memory, MB | CPU ms a page |\n|---|---|---|")
    for wanted in urls:
        pages = wanted - wanted % sites
        with serving(pages, 500) as port, tempfile.TemporaryDirectory() as directory:
            job = Path(directory) / "job.json"
            job.write_text(json.dumps({"port": port, "sites": split(pages, sites), "concurrency": 64}))
            taken = crawled([Path(sys.executable), PEERS / "outbound.py", job, Path(directory)], pages)
        print(f"| {pages:,} | {taken.peak_bytes / 1e6:.0f} | {taken.cpu_s / pages * 1e3:.2f} |")


def split(pages: int, sites: int) -> dict[str, list[str]]:
    """The paths of each site."""
    each = pages // sites
    return {f"site{s}.test": [f"/{s * each + n}.html" for n in range(each)] for s in range(sites)}


def goal(peer: str) -> str:
    """The goal of a ratio to a peer, as text."""
    return f"<= {GOALS[peer]}" if peer in GOALS else ""


def crawled(command: list[Path], pages: int) -> Run:
    """Run a contender on the last core; raises SystemExit unless it says that every page came."""
    taken = run(command)
    if json.loads(taken.said)["pages"] != pages:
        raise SystemExit(f"{command[1]} said {taken.said!r}, not {pages} pages")
    return taken


@contextmanager
def serving(pages: int, median_bytes: int) -> Iterator[int]:
    """Serve the pages from the first core; yields the port."""
    command = pinned([Path(sys.executable), WEB, str(pages), str(median_bytes)], 0)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline())
        server.communicate()  # closes its standard input, which ends it


def pinned(command: list[Path | str], core: int) -> list[str]:
    """A command on one of the cores that this process may use."""
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[core]), *map(str, command)]


if __name__ == "__main__":
    main()
