"""Near-deduplication against datatrove, datasketch and rensa; what it takes at 10^4, 10^5 and 10^6 documents.

    python -m benchmarks.dedup.run                            # speed and recall beside the peers
    python -m benchmarks.dedup.run --growth 10000 100000 1000000
    python -m benchmarks.dedup.run --growth 100000 1000000 --every 3   # a third of the documents are copies
    python -m benchmarks.dedup.run --share 60000      # CPU time of parts, and of one process, by step

Documents are generated: 965 words of a Zipf distribution, all of plain letters, so that every contender cuts
them into the same words. A tenth of them are followed by a copy of known similarity. Each contender takes the
documents as its own reader likes them (ours as a corpus has them, the others as JSON lines) and writes which
it keeps, in an environment of its own, on one core, in turn. Seconds are taken within the process, after its
imports.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from benchmarks.measure import peer_python, run
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import NearDuplicates, Recipe, Select
from dataprep.extract import stage as extract
from dataprep.store.files import publish_table
from dataprep.store.records import Record, commit, finish_led

PEERS = Path(__file__).parent / "peers"
DATATROVE = ["datatrove[io,processing]==0.10.0", "spacy==3.8.11"]
CONTENDERS = {
    "datatrove, as shipped": ("datatrove_stages.py", "shipped", DATATROVE),
    "datatrove, words by white space": ("datatrove_stages.py", "whitespace", DATATROVE),
    "datasketch, LSH": ("datasketch_lsh.py", "", ["datasketch==2.0.0"]),
    "rensa, LSH": ("rensa_lsh.py", "", ["rensa==0.5.0"]),
}
GRAM = 5
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.79, 0.81, 0.85, 0.9, 0.95)
PARTITION = 16384
"""Documents of a partition."""


@dataclass(frozen=True)
class Planted:
    """Texts in the order of their posting, and of each copy its number and its similarity to its original."""

    texts: list[str]
    copies: dict[int, float]


def main() -> None:
    """Run the chosen benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--documents", type=int, nargs=2, default=[1100, 11_000], help="with datatrove; without"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=Path(".peers-dedup"), help="where they are, or go")
    parser.add_argument("--growth", type=int, nargs="+", metavar="DOCUMENTS", help="measure sizes instead")
    parser.add_argument(
        "--share", type=int, nargs="+", metavar="DOCUMENTS", help="compare parts and one process instead"
    )
    parser.add_argument("--every", type=int, default=11, help="every so manyth is a copy (--growth, --share)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if chosen.growth:
            growth(chosen.growth, chosen.every, Path(directory))
        elif chosen.share:
            share(chosen.share, chosen.every, Path(directory))
        else:
            for number, documents in enumerate(chosen.documents):
                names = [name for name in CONTENDERS if number == 0 or "datatrove" not in name]
                compare(documents, names, chosen.repeats, chosen.peers, Path(directory) / str(number))


def planted(documents: int, words: int, seed: int = 0, every: int = 11) -> Planted:
    """Generate documents; one in `every` is a copy of the one before it, its last words exchanged."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    vocabulary = ["".join(rng.choice(letters, length)) for length in rng.integers(2, 11, 30_000)]
    weights = 1 / np.arange(1, len(vocabulary) + 1)
    bounds = np.cumsum(weights / weights.sum())
    texts: list[str] = []
    copies: dict[int, float] = {}
    before: list[str] = []
    while len(texts) < documents:
        if len(texts) % every == every - 1:
            wanted = SIMILARITIES[len(copies) % len(SIMILARITIES)]
            edits = round((len(before) - GRAM + 1) * (1 - wanted) / (1 + wanted))
            other = [f"zz{vocabulary[n]}" for n in rng.integers(0, len(vocabulary), edits)]
            copy = before[: len(before) - edits] + other
            copies[len(texts)] = similarity(before, copy)
            texts.append(lines(copy))
        else:
            before = [vocabulary[n] for n in np.searchsorted(bounds, rng.random(words))]
            texts.append(lines(before))
    return Planted(texts, copies)


def similarity(one: list[str], other: list[str]) -> float:
    """Exact Jaccard similarity over word 5-grams."""
    sets = [{tuple(words[n : n + GRAM]) for n in range(len(words) - GRAM + 1)} for words in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def lines(words: list[str]) -> str:
    return "\n".join(" ".join(words[n : n + 15]) for n in range(0, len(words), 15))


def add(corpus: Corpus, name: str, texts: list[str], first: int, partition: int = PARTITION) -> None:
    """Make an increment of documents that are not scored yet; `first` is the first one's time."""
    increment = corpus.increment(name)
    for part, start in enumerate(range(0, len(texts), partition)):
        rows = []
        for number, text in enumerate(texts[start : start + partition], first + start):
            key = xxhash.xxh3_128_digest(str(number).encode())
            text_key = xxhash.xxh3_128_digest(text.encode())
            rows.append(
                {"doc_id": key, "url_key": key, "text_key": text_key, "text": text, "first_seen": number}
            )
        stem = f"part-{part:05d}"
        table = pa.Table.from_pylist(rows, schema=extract.SCHEMA)
        output = publish_table(corpus.root, increment.path / extract.STEP, stem, table)
        record = Record(
            step=extract.STEP,
            part=stem,
            outputs={"documents": output},
            entered=len(rows),
            passed=len(rows),
        )
        commit(increment.path / extract.STEP / f"{stem}.json", record)
    finish_led(increment.path, extract.STEP, {})


def compare(documents: int, names: list[str], repeats: int, peers: Path, directory: Path) -> None:
    """Print speed and recall of some contenders, and ours as a ratio to each."""
    made = planted(documents, 965)
    (directory / "documents").mkdir(parents=True)
    with (directory / "documents" / "0.jsonl").open("w") as file:
        for number, text in enumerate(made.texts):
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    taken: dict[str, list[tuple[float, float]]] = {}
    kept: dict[str, set[int]] = {}
    written = directory / "kept"
    for repeat in range(repeats):
        root = directory / f"corpus-{repeat}"
        corpus = Corpus.create(root, Recipe(name="bench", select=Select(near_duplicates=NearDuplicates())))
        add(corpus, "one", made.texts, 0)
        commands: dict[str, list[str | Path]] = {"ours": [sys.executable, PEERS / "ours.py", root, written]}
        for name in names:
            script, setting, needs = CONTENDERS[name]
            python = peer_python(peers / needs[0].partition("=")[0].partition("[")[0], needs)
            commands[name] = [python, PEERS / script, directory / "documents", written, setting]
        for name, command in commands.items():
            spans = json.loads(run(command).said.splitlines()[-1])
            cpu, wall = (sum(span[n] for span in spans.values()) for n in (0, 1))
            taken.setdefault(name, []).append((cpu, wall))
            kept[name] = set(map(int, written.read_text().split()))
    print(f"\n{documents:,} documents, {len(made.copies):,} of them copies; medians of {repeats} runs\n")
    levels = "| ".join(f"J = {level} " for level in SIMILARITIES)
    print(f"| | docs/s of CPU | docs/s of wall | ours / it, CPU | wall | dropped: {levels}| others |")
    print("|---|---|---|---|---|" + "---|" * (len(SIMILARITIES) + 1))
    own = [statistics.median(each[n] for each in taken["ours"]) for n in (0, 1)]
    for name, spans in taken.items():
        cpu, wall = (statistics.median(each[n] for each in spans) for n in (0, 1))
        dropped = set(range(documents)) - kept[name]
        shares = [
            [number in dropped for number, likeness in made.copies.items() if abs(likeness - level) < 0.005]
            for level in SIMILARITIES
        ]
        recalls = " | ".join(f"{sum(share) / len(share):.3f}" for share in shares)
        print(
            f"| {name} | {documents / cpu:,.0f} | {documents / wall:,.0f} | {cpu / own[0]:.2f} "
            f"| {wall / own[1]:.2f} | {recalls} | {len(dropped - made.copies.keys())} |"
        )


def growth(sizes: list[int], every: int, directory: Path) -> None:
    """Print what the verdicts on so many documents cost, and then those on a tenth as many more."""
    print("| documents | CPU s | us a document | peak MB | files | index, bytes a document ", end="")
    print("| next tenth: CPU s | us a document | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        root = directory / str(size)
        corpus = Corpus.create(root, Recipe(name="bench", select=Select(near_duplicates=NearDuplicates())))
        row = f"| {size:,} "
        made = planted(size + size // 10, 200, every=every).texts
        for name, first, last in [("one", 0, size), ("two", size, size + size // 10)]:
            add(corpus, name, made[first:last], first)
            command = [sys.executable, PEERS / "ours.py", root, directory / "kept"]
            run([*command, "sign"])
            used = run([*command, "judge"])
            cpu, _ = json.loads(used.said.splitlines()[-1])["rest"]
            row += f"| {cpu:.1f} | {cpu / (last - first) * 1e6:.0f} | {used.peak_bytes / 1e6:.0f} "
            if name == "one":
                files = [path for path in (root / "builds").rglob("*") if path.is_file()]
                index = sum(path.stat().st_size for path in files if path.parent.name == "index")
                row += f"| {len(files)} | {index / size:.0f} "
        print(f"{row}|", flush=True)


def share(sizes: list[int], every: int, directory: Path) -> None:
    """Print the CPU time of each step: of its parts, which any process can make, and of all else."""
    print("| documents | step | parts | us a document, in parts | us a document, in one process |")
    print("|---|---|---|---|---|")
    for size in sizes:
        root = directory / str(size)
        corpus = Corpus.create(root, Recipe(name="bench", select=Select(near_duplicates=NearDuplicates())))
        add(corpus, "one", planted(size, 200, every=every).texts, 0)
        command = [sys.executable, PEERS / "ours.py", root, directory / "kept"]
        run([*command, "sign"])
        steps = json.loads(run([*command, "share"]).said.splitlines()[-1])
        sums = [sum(each[n] for each in steps.values()) for n in (0, 1, 2)]
        for name, (alone_s, parts_s, parts) in {**steps, "all": sums}.items():
            print(
                f"| {size:,} | {name} | {parts} | {parts_s / size * 1e6:.2f} | {alone_s / size * 1e6:.2f} |"
            )


if __name__ == "__main__":
    main()
