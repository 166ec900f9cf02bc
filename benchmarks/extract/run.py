"""WARC to documents: our stage against bare trafilatura and datatrove, and two workers against one.

    python -m benchmarks.extract.run ../shared/data/web/pages.warc.gz      # about ten minutes
    python -m benchmarks.extract.run ../shared/data/web/pages.warc.gz --workers

All contenders read the same pages on one core, in turn, each as a process: pages of which datatrove makes a
document, too, whose reader passes over those whose type it does not recognise. What a run over one page takes
is taken off, so that start-up does not count. datatrove gets a venv of its own, made on the first run.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import xxhash

from benchmarks.measure import Run, middle, peer_python, run
from dataprep.corpus.directory import Corpus, Facts
from dataprep.corpus.recipe import Recipe
from dataprep.crawl import rounds
from dataprep.extract import stage as extract
from dataprep.links import karma
from dataprep.steps import BY_NAME
from dataprep.store.files import publish_table
from dataprep.store.records import Record, commit, finish_led
from dataprep.store.step import make_part, plan_step
from dataprep.warc.reader import WarcRecord, read_warc

PEERS = Path(__file__).parent / "peers"
DATATROVE = ("datatrove[io,processing]==0.10.0", "orjson", "lxml_html_clean")
OURS, BARE, TROVE = "ours", "bare trafilatura, writes nothing", "datatrove, reader + extractor"
GOALS = {BARE: ">= 0.9", TROVE: "> 1"}
"""Our speed as a multiple of the peer's."""


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("warc", type=Path, help="a gzipped WARC file of response records")
    parser.add_argument("--pages", type=int, default=500, help="taken evenly from the file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peers", type=Path, default=Path(".peers-extract"), help="where datatrove is, or goes"
    )
    parser.add_argument("--workers", action="store_true", help="measure two workers against one instead")
    chosen = parser.parse_args()
    records = [piece for piece in read_warc(chosen.warc) if isinstance(piece, WarcRecord)]
    records = records[:: max(1, len(records) // chosen.pages)][: chosen.pages]
    with tempfile.TemporaryDirectory() as directory:
        if chosen.workers:
            workers(chosen.warc, records, chosen.repeats, Path(directory))
        else:
            compare(chosen.warc, records, chosen.repeats, chosen.peers, Path(directory))


def compare(warc: Path, records: list[WarcRecord], repeats: int, peers: Path, directory: Path) -> None:
    """Print the speed of every contender, and ours as a ratio to each."""
    python, peer = Path(sys.executable), peer_python(peers, DATATROVE)
    records = read_by_datatrove(warc, records, peer, directory / "first")
    runs: dict[str, list[Run]] = {OURS: [], BARE: [], TROVE: []}
    starts: dict[str, list[Run]] = {OURS: [], BARE: [], TROVE: []}
    for turn in range(repeats):
        for pages, measured in ((records, runs), (records[:1], starts)):
            corpus = crawled(warc, pages, directory / f"{turn}-{len(pages)}")
            (file,) = corpus.root.glob("increments/*/pages/*.warc.gz")
            trove = [peer, PEERS / "datatrove_reader.py", file, corpus.root / "trove"]
            measured[OURS].append(run([python, PEERS / "ours.py", corpus.root, "1"]))
            measured[BARE].append(run([python, PEERS / "bare.py", file]))
            measured[TROVE].append(run(trove))
    stored = sum(record.length for record in records) / len(records)
    print(f"{len(records)} pages, {stored / 1e3:.1f} kB each as stored, {repeats} runs each\n")
    print("| | documents | CPU ms each | wall ms each | documents/s of CPU | our speed / its | goal |")
    print("|---|---|---|---|---|---|---|")
    documents = {
        name: [int(each[0].said.split()[-1]) for each in (runs[name], starts[name])] for name in runs
    }
    cpu, wall = (
        {
            name: (middle(runs[name], field) - middle(starts[name], field)) / (many - one)
            for name, (many, one) in documents.items()
        }
        for field in ("cpu_s", "wall_s")
    )
    for name in runs:
        took = f"{cpu[name] * 1e3:.1f} | {wall[name] * 1e3:.1f} | {1 / cpu[name]:.1f}"
        ratio = f"{cpu[name] / cpu[OURS]:.2f} | {GOALS.get(name, '')}"
        print(f"| {name} | {documents[name][0]} | {took} | {ratio} |")


def read_by_datatrove(warc: Path, records: list[WarcRecord], peer: Path, directory: Path) -> list[WarcRecord]:
    """Those of the pages that it makes a document of."""
    (file,) = crawled(warc, records, directory).root.glob("increments/*/pages/*.warc.gz")
    run([peer, PEERS / "datatrove_reader.py", file, directory / "trove"])
    lines = [
        line
        for path in (directory / "trove" / "documents").glob("*.gz")
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    urls = {json.loads(line)["metadata"]["url"] for line in lines}
    return [record for record in records if record.url in urls]


def workers(warc: Path, records: list[WarcRecord], repeats: int, directory: Path) -> None:
    """Print wall and CPU time with one child and with two, on two cores, in one process after the other."""
    wall: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(repeats):
        for children in wall:
            corpus = crawled(warc, records, directory / f"{turn}-{children}")
            begun = time.monotonic()
            part(corpus, children)
            wall[children].append(time.monotonic() - begun)
    print(f"{len(records)} pages in one partition, {repeats} runs each, {os.cpu_count()} cores\n")
    print("| workers | wall s, each run | speed |\n|---|---|---|")
    for children, times in wall.items():
        print(
            f"| {children} | {', '.join(f'{each:.1f}' for each in times)} | {min(wall[1]) / min(times):.2f} |"
        )


def part(corpus: Corpus, children: int) -> None:
    """Extract the only partition of the only increment."""
    (increment,) = corpus.increments()
    step, scope = BY_NAME[extract.STEP], Facts(corpus, increment)
    (only,) = plan_step(step, scope).parts
    make_part(step, scope, only.name, children, lambda _: None)


def crawled(warc: Path, records: list[WarcRecord], root: Path, recipe: Recipe | None = None) -> Corpus:
    """A corpus whose crawl brought just these records, in one file."""
    corpus = Corpus.create(root, recipe or Recipe(name="benchmark"))
    increment = corpus.increment("pages")
    (increment.path / "pages").mkdir()
    rows = []
    with warc.open("rb") as source, (increment.path / "pages" / "all.warc.gz").open("wb") as file:
        for number, record in enumerate(records):
            source.seek(record.offset)
            place = {"warc_file": str(Path(file.name).relative_to(root)), "warc_offset": file.tell()}
            file.write(source.read(record.length))
            link = {"url": record.url, "url_key": xxhash.xxh3_128_digest(record.url.encode()), "karma": 3}
            fetch = {**place, "outcome": "ok", "warc_length": record.length, "first_seen": number}
            rows.append({**link, **fetch})
    for step, name, schema in (("links", "links", karma.SCHEMA), ("fetch", "fetches", rounds.SCHEMA)):
        table = pa.Table.from_pylist(rows, schema=schema)
        output = publish_table(root, increment.path / step, "part-00000", table)
        commit(
            increment.path / step / "part-00000.json",
            Record(step=step, part="part-00000", outputs={name: output}, entered=len(rows), passed=len(rows)),
        )
    for step in ("links", "retry", "fetch"):
        finish_led(increment.path, step, {})
    return corpus


if __name__ == "__main__":
    main()
