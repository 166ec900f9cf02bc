"""Tokenising and writing against datatrove's tokenizer stage and bare tiktoken, on the same documents.

    python -m benchmarks.tokens.run ../shared/data/text/novels ../shared/data/gpt2-bpe    # about five minutes

The texts (*.txt.gz) are cut into documents of log-normal length, a mean of 4 kB, again and again until --mb
are reached. Each contender takes a quarter of them and all of them, on one core, in turn, as a process whose
whole time counts, by CPU and by clock; its speed is that of the difference, so that starting is not in it.
datatrove is put into --peers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import peer_python, run

sys.path += [str(Path(__file__).parents[2] / "tests"), str(Path(__file__).parents[2])]

from dataprep import ingest
from dataprep.corpus.recipe import NearDuplicates
from dataprep.tokenizer import tokenizer
from support.ready_corpus import add_pages, make_corpus, no_progress

PEERS = Path(__file__).parent / "peers"
DATATROVE = ["datatrove[io,processing]==0.10.0"]
Clocks = tuple[float, float]
"""By CPU and by wall time."""
OURS, TROVE, BARE = "outbound pack", "datatrove DocumentTokenizer", "bare tiktoken, writes nothing"


def main() -> None:
    """Run every contender in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("texts", type=Path, help="a directory of .txt.gz")
    parser.add_argument("tokenizer", type=Path, help="a directory with GPT-2's two files")
    parser.add_argument("--mb", type=float, default=52, help="of text")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=Path(".peers-tokens"))
    chosen = parser.parse_args()
    python = peer_python(chosen.peers, DATATROVE)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        tokenizer.copy(chosen.tokenizer, directory / "bpe")
        sizes = {
            name: prepare(chosen.texts, chosen.mb * 1e6 * share, directory / name)
            for name, share in (("part", 0.25), ("whole", 1.0))
        }
        speeds: dict[str, list[Clocks]] = {OURS: [], TROVE: [], BARE: []}
        for number in range(chosen.repeats):
            for name, taken in turn(python, directory, number).items():
                seconds = [whole - part for whole, part in zip(taken["whole"], taken["part"], strict=True)]
                cpu, wall = ((sizes["whole"] - sizes["part"]) / 1e6 / each for each in seconds)
                speeds[name].append((cpu, wall))
        tell(speeds)


def prepare(texts: Path, size: float, directory: Path) -> int:
    """Write documents as JSONL and as the text shards of a corpus; returns the bytes of text."""
    pages = [(n, f"http://a.test/{n}", text) for n, text in enumerate(documents(texts, size))]
    (directory / "jsonl").mkdir(parents=True)
    with (directory / "jsonl" / "documents.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text, "id": url}) + "\n" for _, url, text in pages)
    corpus = make_corpus(directory / "corpus", near=NearDuplicates(threshold=1.0))
    add_pages(corpus, "one", pages)
    ingest.extend(corpus, 1, no_progress)
    return sum(len(text.encode()) for _, _, text in pages)


def documents(texts: Path, size: float) -> Iterator[str]:
    """Documents of log-normal length, cut anew from the same texts until there are so many bytes of them."""
    novels = [
        gzip.decompress(path.read_bytes()).decode(errors="replace") for path in sorted(texts.glob("*.gz"))
    ]
    lengths = random.Random(1)
    given = 0
    while True:
        for novel in novels:
            at = 0
            while at < len(novel):
                text = novel[at : at + int(lengths.lognormvariate(7.9, 0.9)) + 1].strip()
                at += len(text) + 1
                if text:
                    yield text
                given += len(text.encode())
                if given > size:
                    return


def turn(python: Path, directory: Path, number: int) -> dict[str, dict[str, Clocks]]:
    """Seconds of every contender for both sizes; raises SystemExit when their tokens differ in number."""
    taken: dict[str, dict[str, Clocks]] = {OURS: {}, TROVE: {}, BARE: {}}
    for size in ("part", "whole"):
        source, bpe = directory / size, directory / "bpe"
        out = directory / f"{size}-{number}"
        pack = ["-m", "pipeline.cli.main", "pack", source / "corpus", "--tokenizer", bpe, "-o", out / "ours"]
        ours = run([sys.executable, *pack, "--workers", "1", "--json"])
        trove = run([python, PEERS / "datatrove_tokenizer.py", source / "jsonl", bpe / "tokenizer.json", out])
        bare = json.loads(
            run([sys.executable, PEERS / "bare_tiktoken.py", source / "jsonl" / "documents.jsonl", bpe]).said
        )
        packed = json.loads(ours.said.splitlines()[-1])
        counts = {
            OURS: packed["train"]["tokens"] + packed["val"]["tokens"],
            TROVE: sum(path.stat().st_size for path in (out / "tokens").rglob("*.ds")) // 2,
            BARE: bare["tokens"],
        }
        if len(set(counts.values())) > 1:
            raise SystemExit(f"other numbers of tokens: {counts}")
        taken[OURS][size], taken[TROVE][size] = (ours.cpu_s, ours.wall_s), (trove.cpu_s, trove.wall_s)
        taken[BARE][size] = bare["cpu_s"], bare["wall_s"]
    return taken


def tell(speeds: dict[str, list[Clocks]]) -> None:
    """Print the table of speeds in MB of text a second, and ours as a ratio within each turn."""
    print("| | MB/s of CPU | ours / it | lowest and highest | MB/s of wall | ours / it, wall |")
    print("|---|---|---|---|---|---|")
    for name, found in speeds.items():
        told = []
        for clock in (0, 1):
            ratios = [ours[clock] / it[clock] for ours, it in zip(speeds[OURS], found, strict=True)]
            told.append(f"{statistics.median(each[clock] for each in found):.2f}")
            told.append(f"{statistics.median(ratios):.2f}")
            if not clock:
                told.append(f"{min(ratios):.2f} to {max(ratios):.2f}")
        print(f"| {name} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
