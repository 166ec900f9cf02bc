"""`outbound corpus verify` by one worker and by two, against an earlier version and against hashing alone.

    python -m benchmarks.verify.run
    python -m benchmarks.verify.run --links 0.5 4 --before ../earlier --repeats 1

Generated corpora of one increment: links that were all fetched, WARC files of random bytes, and a text of
1,500 characters for every twentieth link, all kept and written to tars. Each contender is a process, start-up
included, that may use all cores; they run in turn, with the files in the page cache. The peak is that of the
largest process. The `before / it` column needs --before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.measure import Run, middle, run
from dataprep import ingest
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Recipe
from dataprep.crawl import rounds
from dataprep.extract import stage as extract
from dataprep.links import karma
from dataprep.score import stage as score
from dataprep.store.files import Output, attempt_path, publish, publish_table
from dataprep.store.npy import fixed_width_column as column
from dataprep.store.records import Record, commit
from dataprep.text import minhash

PART_ROWS = 50_000
LINKS_A_DOCUMENT = 20
TEXT_CHARACTERS = 1500
SHINGLES = 200
WARC_BYTES = 128 << 20
HASHING, BEFORE = "xxh3_128 of all files, nothing else", "before, one process"


def main() -> None:
    """Measure each size, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--links", type=float, nargs="+", default=[1, 4], help="millions of links")
    parser.add_argument("--warcs", type=int, default=16, help="WARC files of 128 MiB for a million links")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    print("| million links | GB | | CPU s | before / it, CPU | wall s | MB/s of wall | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for millions in chosen.links:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory) / "corpus"
            generate(root, int(millions * 1e6), int(millions * chosen.warcs))
            size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
            found = measured(root, chosen.before, chosen.repeats)
            for name, runs in found.items():
                wall_s, cpu_s, peak = (middle(runs, field) for field in ("wall_s", "cpu_s", "peak_bytes"))
                compared = BEFORE in found and name != HASHING
                ratio = f"{middle(found[BEFORE], 'cpu_s') / cpu_s:.1f}" if compared else ""
                print(
                    f"| {millions:g} | {size / 1e9:.1f} | {name} | {cpu_s:.1f} | {ratio} | {wall_s:.1f} "
                    f"| {size / 1e6 / wall_s:,.0f} | {peak / 1e6:,.0f} |",
                    flush=True,
                )


def measured(root: Path, before: Path | None, repeats: int) -> dict[str, list[Run]]:
    """The runs of every contender over one corpus."""
    verify = ["-P", "-m", "pipeline.cli.main", "corpus", "verify", root]
    here = Path(__file__).parents[2]
    commands: dict[str, list[Any]] = {
        HASHING: [sys.executable, Path(__file__).parent / "peers" / "hash_files.py", root],
        BEFORE: ["env", f"PYTHONPATH={before}", sys.executable, *verify],
        "1 worker": ["env", f"PYTHONPATH={here}", sys.executable, *verify, "--workers=1"],
        "2 workers": ["env", f"PYTHONPATH={here}", sys.executable, *verify, "--workers=2"],
    }
    if not before:
        del commands[BEFORE]
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            runs[name].append(run(command, core=None))
            if name != HASHING and "every file and every count is right" not in runs[name][-1].said:
                raise SystemExit(f"{name}: {runs[name][-1].said}")
    return runs


def generate(root: Path, links: int, warcs: int, seed: int = 0) -> None:
    """Make a corpus of so many links and WARC files."""
    rng = np.random.default_rng(seed)
    corpus = Corpus.create(root, Recipe(name="verify"))
    increment = corpus.increment("generated")
    documents = links // LINKS_A_DOCUMENT
    keys, fetched = keys_of(rng, links), rng.permutation(links)
    urls = np.array([f"http://site-{n % 1000}.test/{n}" for n in range(links)], object)
    files = {f"warc/{n}": write_warc(rng, root, increment.path / "pages", n) for n in range(warcs)}

    def part(step: str, name: str, schema: pa.Schema, rows: slice, lost: int = 0, **columns: Any) -> None:
        """Commit rows as a part of a step; columns that are not given are null."""
        nulls = {field.name: pa.nulls(rows.stop - rows.start, field.type) for field in schema}
        table = pa.table({**nulls, **columns}).cast(schema)
        stem = f"part-{rows.start // PART_ROWS:05d}"
        record = Record(
            step=step,
            part=stem,
            outputs={name: publish_table(root, increment.path / step, stem, table)}
            | (files if step == "fetch" and not rows.start else {}),
            entered=table.num_rows,
            passed=table.num_rows - lost,
            reasons={"not_found": lost} if lost else {},
            versions=score.versions(corpus) if step == "score" else {},
        )
        commit(increment.path / step / f"{stem}.json", record)

    for rows in parts(links):
        part("links", "links", karma.SCHEMA, rows, url_key=column(keys[rows]), url=urls[rows])
        here = fetched[rows]
        outcomes = np.where(here < documents, "ok", "not_found")
        part(
            "fetch",
            "fetches",
            rounds.SCHEMA,
            rows,
            lost=int((here >= documents).sum()),
            url_key=column(keys[here]),
            url=urls[here],
            outcome=outcomes,
        )
    for rows in parts(documents):
        number = rows.stop - rows.start
        doc_ids = column(keys_of(rng, number))
        part(
            "extract",
            "documents",
            extract.SCHEMA,
            rows,
            doc_id=doc_ids,
            url_key=column(keys[rows]),
            text_key=column(keys_of(rng, number)),
            url=urls[rows],
            site=["a.test"] * number,
            first_seen=np.arange(rows.start, rows.stop),
            text=list(texts_of(rng, number)),
        )
        signatures = rng.integers(0, 1 << 32, (number, minhash.PERMUTATIONS), np.uint32)
        part(
            "score",
            "scores",
            score.SCHEMA,
            rows,
            doc_id=doc_ids,
            characters=np.full(number, TEXT_CHARACTERS),
            shingles=np.full(number, SHINGLES),
            signature=column(signatures.view(f"V{signatures.itemsize * minhash.PERMUTATIONS}").ravel()),
        )
    ingest.close(increment)
    ingest.extend(corpus, 1, no_progress)


def parts(rows: int) -> Iterator[slice]:
    """Cut rows into partitions."""
    for start in range(0, rows, PART_ROWS):
        yield slice(start, min(start + PART_ROWS, rows))


def keys_of(rng: np.random.Generator, number: int) -> npt.NDArray[np.void]:
    return np.frombuffer(rng.bytes(16 * number), "V16")


def texts_of(rng: np.random.Generator, number: int) -> Iterator[str]:
    """Texts of letters and spaces, cut from one long one."""
    letters = np.frombuffer(b"etaoinshrdlucm   ", np.uint8)
    long = rng.choice(letters, 1 << 22).tobytes().decode()
    for start in rng.integers(0, len(long) - TEXT_CHARACTERS, number):
        yield long[start : start + TEXT_CHARACTERS]


def write_warc(rng: np.random.Generator, root: Path, pages: Path, number: int) -> Output:
    written = attempt_path(pages, f"warc-{number}")
    written.write_bytes(rng.bytes(WARC_BYTES))
    return publish(root, written, f"warc-{number}", ".warc.gz")


@contextmanager
def no_progress(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar that nobody sees."""
    yield lambda _: None


if __name__ == "__main__":
    main()
