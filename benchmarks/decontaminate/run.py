"""The find pass of decontamination against datatrove's filter, on the same texts: prints a table.

`python -m benchmarks.decontaminate.run TEXTS.gz... --sets EVALS --peer DIRECTORY`
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import middle, peer_python, run
from dataprep.corpus import evalsets

HERE = Path(__file__).parent / "peers"
PEER = ["datatrove[io,processing]==0.10.0", "spacy"]
DOCUMENT = 5000
"""Characters of a document, into which the texts are cut."""
RUNS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="where the venv of datatrove is or goes")
    parser.add_argument("--mb", type=float, default=3)
    options = parser.parse_args()
    python = peer_python(options.peer, PEER)
    with tempfile.TemporaryDirectory() as directory:
        documents, examples = Path(directory) / "documents.jsonl", Path(directory) / "examples.jsonl"
        size, planted = prepare(options.texts, options.sets, options.mb, documents, examples)
        contenders = {
            "ours": [sys.executable, HERE / "ours.py", options.sets, documents],
            "datatrove": [python, HERE / "datatrove_filter.py", examples, documents],
            "datatrove, white space": [python, HERE / "datatrove_filter.py", examples, documents, "--split"],
        }
        rounds = [{name: run(command) for name, command in contenders.items()} for _ in range(RUNS)]
    runs = {name: [each[name] for each in rounds] for name in contenders}
    print(f"{size / 1e6:.1f} MB, {len(planted)} documents with an example\n")
    print("| | MB/s of CPU, find alone | CPU s in all | wall s | peak MB | planted found | others found |")
    print("|---|---|---|---|---|---|---|")
    for name, each in runs.items():
        said = [json.loads(one.said) for one in each]
        rate = size / 1e6 / statistics.median(one["cpu_s"] for one in said)
        found = set(said[0]["found"])
        print(
            f"| {name} | {rate:.2f} | {middle(each, 'cpu_s'):.1f} | {middle(each, 'wall_s'):.1f} "
            f"| {middle(each, 'peak_bytes') / 1e6:.0f} | {len(found & planted)} | {len(found - planted)} |"
        )


def prepare(
    texts: list[Path], sets: Path, mb: float, documents: Path, examples: Path
) -> tuple[int, set[int]]:
    """Documents, every twentieth with an example of at least 20 words; returns their size and which."""
    found = [each.text for path in evalsets.files(sets).values() for each in evalsets.examples(path)]
    examples.write_text("".join(json.dumps({"text": text}) + "\n" for text in found))
    long = [text for text in found if len(text.split()) >= 20]
    whole = "".join(gzip.decompress(path.read_bytes()).decode() for path in texts)[: int(mb * 1e6)]
    pages = [whole[at : at + DOCUMENT] for at in range(0, len(whole), DOCUMENT)]
    planted = set(range(0, len(pages), 20))
    for number in planted:
        example = long[number * 7919 % len(long)]
        pages[number] = f"{pages[number][:2000]}\n{example}\n{pages[number][2000:]}"
    documents.write_text("".join(json.dumps({"text": page}) + "\n" for page in pages))
    return sum(map(len, pages)), planted


if __name__ == "__main__":
    main()
