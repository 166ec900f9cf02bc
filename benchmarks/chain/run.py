"""The whole chain, from links to packed tokens: the share of each stage, and how it grows.

    python -m benchmarks.chain.run ../shared/data/web/pages.warc.gz      # real pages, served on loopback
    python -m benchmarks.chain.run --grow 10000 100000                   # generated texts, imported

One worker on one core, in one process that notes what it used at the end of every stage. The pages of the
WARC file are served by another process. Texts are of 190 words on average; one in ten is a near copy of an
earlier one.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import run

STAGES = Path(__file__).with_name("stages.py")
WEB = Path(__file__).parents[1] / "crawl" / "web.py"
SITES = 32


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("warc", type=Path, nargs="?", help="a WARC file whose pages are crawled")
    parser.add_argument("--pages", type=int, default=1000, help="taken evenly from the file")
    parser.add_argument("--grow", type=int, nargs="+", metavar="DOCUMENTS", help="measure growth instead")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if chosen.grow:
            grow(chosen.grow, Path(directory))
        elif chosen.warc:
            shares(chosen.warc, chosen.pages, Path(directory))
        else:
            parser.error("a WARC file or --grow is needed")


def shares(warc: Path, pages: int, directory: Path) -> None:
    """Print what each stage of the chain takes, from a dump whose links lead to these pages."""
    dump = directory / "RS_2013-08.jsonl"
    with dump.open("w") as file:
        for number in range(pages):
            url = f"http://site{number % SITES}.test/{number}.html"
            post = {"id": f"p{number}", "url": url, "score": 9, "created_utc": 1375315200 + number}
            file.write(json.dumps({**post, "subreddit": "a", "over_18": False, "is_self": False}) + "\n")
    with serving(warc, pages) as port:
        result = chain(directory / "corpus", "dump", dump, port)
    documents, used = result["documents"], result["used"]
    whole = sum(cpu for cpu, _ in used.values())
    print(f"{pages:,} links, {documents:,} documents, {result['kept']:,} of them kept\n")
    print("| stage | CPU s | wall s | share | links/s of CPU |\n|---|---|---|---|---|")
    for stage, (cpu, wall) in used.items():
        print(f"| {stage} | {cpu:.1f} | {wall:.1f} | {cpu / whole:.1%} | {pages / cpu:,.0f} |")
    print(f"| all | {whole:.1f} | {sum(wall for _, wall in used.values()):.1f} | | {pages / whole:,.1f} |")


def grow(sizes: list[int], directory: Path) -> None:
    """Print time, memory and files of the chain over so many texts."""
    print("| documents | kept | CPU s | documents/s | files | MB | CPU ms a document and peak MB, by stage |")
    print("|---|---|---|---|---|---|---|")
    for size in sizes:
        source = directory / f"{size}.jsonl"
        with source.open("w") as file:
            for text in texts(size):
                file.write(json.dumps({"text": text}) + "\n")
        result = chain(directory / f"corpus-{size}", "texts", source)
        used = {stage: seconds for stage, (seconds, _) in result["used"].items()}
        cpu, peaks = sum(used.values()), result["peaks"]
        stages = [f"{name} {used[name] / size * 1e3:.2f}, {peak / 1e6:.0f}" for name, peak in peaks.items()]
        print(f"| {size:,} | {result['kept']:,} | {cpu:.0f} | {size / cpu:,.0f}", end=" | ")
        print(f"{result['files']} | {result['bytes'] / 1e6:.0f} | {'; '.join(stages)} |", flush=True)


def texts(size: int) -> Iterator[str]:
    """Texts of random words in sentences; every tenth is an earlier one with one word changed."""
    dice = random.Random(0)
    words = ["".join(dice.choices("etasihrdlucmfwyp", k=dice.randint(2, 10))) for _ in range(20_000)]
    recent: list[list[str]] = []
    for number in range(size):
        if number % 10 == 9:
            chosen = list(dice.choice(recent))
            chosen[dice.randrange(len(chosen))] = "changed"
        else:
            chosen = dice.choices(words, k=int(150 * dice.lognormvariate(0, 0.5)) + 20)
            recent = [*recent[-999:], chosen]
        yield ". ".join(" ".join(chosen[at : at + 12]) for at in range(0, len(chosen), 12)) + "."


def chain(root: Path, *arguments: str | Path) -> dict[str, Any]:
    """What stages.py prints of a run."""
    return dict(json.loads(run([sys.executable, STAGES, root, *arguments]).said))


@contextmanager
def serving(warc: Path, pages: int) -> Iterator[str]:
    """Serve pages of a WARC file; yields the port."""
    command = [sys.executable, WEB, str(pages), "0", warc]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.communicate()  # closes its standard input, which ends it


if __name__ == "__main__":
    main()
