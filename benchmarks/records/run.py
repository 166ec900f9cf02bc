"""How records grow with the partitions of an increment: their bytes, the time to open a step, and a forget.

    python -m benchmarks.records.run
    python -m benchmarks.records.run --partitions 100 400 --json records.json

An import of small JSON-lines files makes an increment of so many partitions of eight documents each. One of
them nearly repeats a document of an earlier partition, so every partition holds candidates. One process, one
worker.

The bytes are those of all records and step files that an import and its selection write. Those of temporary
steps, which usually go in the end, are counted, too: they are kept here. To open a step is to ask for it once
more: to build its inputs, and to find that all its parts are done. The selection is asked for again without
its verdicts. The forget is `outbound corpus forget --url` of one document: a process of its own, its start-up
included.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.measure import high_water, run
from dataprep import ingest
from dataprep.corpus.directory import Corpus, Decisions
from dataprep.corpus.recipe import Collect, Recipe
from dataprep.imports.rows import Fields
from dataprep.steps import BY_NAME
from dataprep.store import records, step

DOCUMENTS = 8
"""Documents of a partition."""
WORDS = 80
WORD_LENGTH = 6
TEXT_BYTES = WORDS * (WORD_LENGTH + 1) - 1
CHANGED = 3
"""Words of a copy that differ from its original: a similarity of 5-grams of about 0.85."""
MADE_AGAIN = ("verdicts", "shard")
"""Steps that are done again when a selection without its verdicts is opened."""


@dataclass(frozen=True)
class Span:
    """Seconds of one step, and the JSON that it read."""

    wall_s: float
    cpu_s: float
    json_read_bytes: int


@dataclass
class Steps:
    """Times each step, and counts the JSON read in it."""

    spans: dict[str, Span] = field(default_factory=dict)
    read_bytes: int = 0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time every step that is done or found done meanwhile; the files of temporary steps stay."""
        do = step.run_step

        def run_step(row: Any, *rest: Any) -> Any:
            records.forget_step_files()  # as in a process of its own
            wall, cpu, read = time.perf_counter(), time.process_time(), self.read_bytes
            whole = do(row, *rest)
            self.spans[row.name] = Span(
                time.perf_counter() - wall, time.process_time() - cpu, self.read_bytes - read
            )
            return whole

        with patch.object(step, "run_step", run_step), patch.object(step, "remove_step"):
            yield

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the bytes of JSON files that are read."""
        read = Path.read_bytes

        def counted(path: Path) -> bytes:
            content = read(path)
            if path.suffix == ".json":
                self.read_bytes += len(content)
            return content

        with patch.object(Path, "read_bytes", counted):
            yield


def main() -> None:
    """Measure each number of partitions, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--directory", type=Path, help="where the corpora go; they are removed in the end")
    chosen = parser.parse_args()
    found = []
    for partitions in chosen.partitions:
        with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
            found.append(measured(partitions, Path(directory)))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
        if chosen.json:
            chosen.json.write_text(json.dumps(found, indent=1))
    print(tables(found))


def measured(partitions: int, directory: Path) -> dict[str, Any]:
    """All figures of a corpus of so many partitions."""
    texts = directory / "texts"
    write_texts(texts, partitions)
    # Each file is larger than a partition, and all but its last document are smaller: one partition a file.
    partition_mb = (DOCUMENTS - 0.5) * TEXT_BYTES / 1e6
    recipe = Recipe(name="records", collect=Collect(partition_mb=partition_mb))
    corpus = Corpus.create(directory / "corpus", recipe)
    made = Steps()
    with made.timed():
        ingest.bring(corpus, "texts", "jsonl", [texts], Fields(), None, 1, no_progress)
    (increment,), build = corpus.increments(), corpus.current_build()
    assert len(increment.parts("extract")) == partitions
    sizes = record_bytes(corpus.root)

    scope = Decisions(corpus, build, increment)
    for name in MADE_AGAIN:
        step.remove_step(BY_NAME[name], scope)
    opened = Steps()
    with opened.timed(), opened.counting():
        ingest.extend(corpus, 1, no_progress)
    peak_bytes = high_water()
    shutil.rmtree(scope.places["work"])
    forget = run(
        [sys.executable, "-m", "pipeline.cli.main", "corpus", "forget", corpus.root, *one(partitions)]
    )
    assert "1 documents" in forget.said, forget.said
    return {
        "partitions": partitions,
        "documents": partitions * DOCUMENTS,
        "records": sizes,
        "made": {title: asdict(span) for title, span in made.spans.items()},
        "opened": {title: asdict(span) for title, span in opened.spans.items() if title not in MADE_AGAIN},
        "peak_bytes": peak_bytes,
        "forget": {"wall_s": forget.wall_s, "cpu_s": forget.cpu_s, "peak_bytes": forget.peak_bytes},
    }


def write_texts(directory: Path, partitions: int, seed: int = 0) -> None:
    """JSON lines, a file a partition: random words, and last a text much like one of an earlier partition."""
    directory.mkdir(parents=True)
    rng = random.Random(seed)
    firsts: list[list[str]] = []
    for partition in range(partitions):
        documents = [words(rng, WORDS) for _ in range(DOCUMENTS)]
        if firsts:
            documents[-1] = [*rng.choice(firsts)[:-CHANGED], *words(rng, CHANGED)]
        firsts.append(documents[0])
        rows = [
            {"url": url(partition, number), "text": " ".join(document)}
            for number, document in enumerate(documents)
        ]
        path = directory / f"{partition:05d}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def words(rng: random.Random, number: int) -> list[str]:
    return ["".join(rng.choices("etaoinshrdlucm", k=WORD_LENGTH)) for _ in range(number)]


def url(partition: int, number: int) -> str:
    return f"http://site-{partition}.test/{number}"


def one(partitions: int) -> list[str]:
    """The document that is forgotten."""
    return ["--url", url(partitions // 2, 1)]


@contextmanager
def no_progress(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar that nobody sees."""
    yield lambda _: None


def record_bytes(root: Path) -> dict[str, dict[str, int]]:
    """Of each folder of records, how many there are, their bytes, and those of the largest."""
    number, total, largest = Counter[str](), Counter[str](), Counter[str]()
    for path in root.rglob("*.json"):
        parts = path.relative_to(root).parts
        name = "corpus" if len(parts) < 3 else "work/" + parts[-2] if "work" in parts else parts[-2]
        size = path.stat().st_size
        number[name] += 1
        total[name] += size
        largest[name] = max(largest[name], size)
    names = sorted(total, key=lambda name: -total[name])
    return {name: {"files": number[name], "bytes": total[name], "largest": largest[name]} for name in names}


def tables(found: list[dict[str, Any]]) -> str:
    """The figures for people."""
    lines = ["| partitions | records, MB | of them in `work/` | largest record, kB |", "|---|---|---|---|"]
    for each in found:
        records = each["records"]
        total = sum(entry["bytes"] for entry in records.values())
        work = sum(entry["bytes"] for name, entry in records.items() if name.startswith("work/"))
        largest = max(entry["largest"] for entry in records.values())
        lines.append(
            f"| {each['partitions']:,} | {total / 1e6:.1f} | {work / 1e6:.1f} | {largest / 1e3:.0f} |"
        )
    steps = list(found[-1]["opened"])
    lines += ["", "Milliseconds of wall time (of CPU) to open each step, and MB of JSON read:", ""]
    lines += [f"| partitions | {' | '.join(steps)} | all |", "|---" * (len(steps) + 2) + "|"]
    for each in found:
        spans = [each["opened"][step] for step in steps]
        spans.append({key: sum(span[key] for span in spans) for key in spans[0]})
        cells = [
            f"{span['wall_s'] * 1e3:.1f} ({span['cpu_s'] * 1e3:.1f}), {span['json_read_bytes'] / 1e6:,.1f}"
            for span in spans
        ]
        lines.append(f"| {each['partitions']:,} | {' | '.join(cells)} |")
    lines += ["", "| partitions | forget, wall s | CPU s | peak MB |", "|---|---|---|---|"]
    for each in found:
        forget = each["forget"]
        lines.append(
            f"| {each['partitions']:,} | {forget['wall_s']:.1f} | {forget['cpu_s']:.1f} "
            f"| {forget['peak_bytes'] / 1e6:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
