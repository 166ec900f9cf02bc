"""What workers cost the shared directory besides their parts: looks, and the end of a step.

    python -m benchmarks.scale.looks --parts 100 400 1600 --workers 64
    python -m benchmarks.scale.looks --pages 250000 1000000       # what planning `extract` takes

A step of so many parts, each with one file and a record, of which all are made but one for each worker: those
are claimed. Every worker then looks at all records and claims as `store/claiming.py` does, in one process,
one after the other. Then the last parts are made, and each worker ends the step, as those do that come at the
same moment: it reads all records and writes the step file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from benchmarks.measure import high_water
from dataprep.corpus.directory import Corpus, Facts
from dataprep.corpus.recipe import Recipe
from dataprep.crawl import rounds
from dataprep.crawl.partitioning import PART_LINKS
from dataprep.steps import BY_NAME
from dataprep.store import records
from dataprep.store.claiming import Claiming, _OpenStep
from dataprep.store.files import publish_table
from dataprep.store.npy import fixed_width_column
from dataprep.store.presence import Presence
from dataprep.store.step import Made, Part, Save, Step, Task, finish_step, make_part, plan_path, plan_step
from dataprep.store.workers import Worker, write_worker


@dataclass(frozen=True)
class Scope:
    """A directory with one step of so many parts."""

    root: Path
    parts: int

    @property
    def places(self) -> dict[str, Path]:
        return {"facts": self.root / "increments" / "0001-one"}


@dataclass
class Spent:
    """Milliseconds of CPU, names listed in directories, files read and their bytes."""

    ms: float = 0
    names: int = 0
    files: int = 0
    read_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.ms:,.1f} | {self.names:,} | {self.files:,} | {self.read_bytes / 1e3:,.0f}"


def plan(scope: Scope, save: Save) -> list[Part]:
    return [
        Part(name=f"part-{number:05d}", size=400, spec={"start": 400 * number, "end": 400 * number + 400})
        for number in range(scope.parts)
    ]


def run(task: Task[Scope]) -> Made:
    return Made(outputs={"documents": task.publish_array(np.arange(4))}, entered=400, passed=400)


STEP = Step[Scope](name="extract", unit="pages", at="facts", plan=plan, run=run)


def main() -> None:
    """Measure each number of parts, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", type=int, nargs="+", default=[100, 400, 1600])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--pages", type=int, nargs="+", help="plan `extract` over so many instead")
    chosen = parser.parse_args()
    if chosen.pages:
        print("| pages | parts | plan, CPU s | Parquet MB | peak MB so far |\n|---|---|---|---|---|")
        for pages in chosen.pages:
            with tempfile.TemporaryDirectory() as directory:
                print(planned(Path(directory), pages), flush=True)
        return
    print("| parts | one worker | CPU ms | names listed | files read | kB read |\n|---|---|---|---|---|---|")
    for parts in chosen.parts:
        with tempfile.TemporaryDirectory() as directory:
            for what, spent in measured(Scope(Path(directory), parts), chosen.workers).items():
                print(f"| {parts:,} | {what} | {spent} |", flush=True)


def planned(directory: Path, pages: int) -> str:
    """The row of a plan of `extract` over generated fetches of 25 kB each."""
    corpus = Corpus.create(directory / "corpus", Recipe(name="plan"))
    increment, dice = corpus.increment("plan"), np.random.default_rng(0)
    for number in range(pages // PART_LINKS):
        stem = f"part-{number:05d}"
        columns = {field.name: pa.nulls(PART_LINKS, field.type) for field in rounds.SCHEMA}
        columns["url_key"] = fixed_width_column(np.frombuffer(dice.bytes(16 * PART_LINKS), "V16"))
        columns["outcome"] = pa.array(["ok"] * PART_LINKS)
        columns["warc_file"] = pa.array([f"increments/0001-plan/pages/{stem}.warc.gz"] * PART_LINKS)
        columns["warc_offset"] = pa.array(np.arange(PART_LINKS) * 25_000)
        columns["warc_length"] = pa.array([25_000] * PART_LINKS)
        table = pa.table(columns, schema=rounds.SCHEMA)
        output = publish_table(corpus.root, increment.path / rounds.STEP, stem, table)
        record = records.Record(
            step=rounds.STEP,
            part=stem,
            outputs={"fetches": output},
            entered=PART_LINKS,
            passed=PART_LINKS,
        )
        records.commit(increment.path / rounds.STEP / f"{stem}.json", record)
    for step in ("links", "retry", rounds.STEP):
        records.finish_led(increment.path, step, {})
    begun = time.process_time()
    parts = len(plan_step(BY_NAME["extract"], Facts(corpus, increment)).parts)
    cpu_s, tables = time.process_time() - begun, (increment.path / rounds.STEP).glob("*.parquet")
    size = sum(path.stat().st_size for path in tables)
    return f"| {pages:,} | {parts} | {cpu_s:.2f} | {size / 1e6:.0f} | {high_water() / 1e6:.0f} |"


def measured(scope: Scope, workers: int) -> dict[str, Spent]:
    """The mean of what each worker spends, by what it does."""
    step_plan = plan_step(STEP, scope)
    for part in step_plan.parts[:-workers]:
        make_part(STEP, scope, part.name, 1, lambda _: None)
    looks: list[tuple[Claiming, _OpenStep, dict[str, Part]]] = []
    for number in range(workers):
        worker = Worker(name=f"w{number}", host="a", machine="a", pid=1, stage="cpu", started=0)
        write_worker(scope.root, worker)
        opened = _OpenStep.read(STEP, scope, worker)
        assert opened
        looks.append((Claiming(Presence(scope.root, worker)), opened, {}))
    for number, part in enumerate(step_plan.parts):  # those that are made were claimed, too
        _, opened, _ = looks[number % workers]
        assert opened.claims.take(part.name, 1)
    found = dict[str, Spent]()

    def arrive() -> None:
        for claiming, opened, left in looks:
            left.update(opened.from_own_place({part.name for part in step_plan.parts}))
            claiming._strike_out(opened, left, {*left}, lambda _: None)

    def look() -> None:
        for claiming, opened, left in looks:
            claiming._strike_out(opened, left, set(), lambda _: None)

    def look_idle() -> None:
        for claiming, opened, left in looks:
            claiming._strike_out(opened, left, set(), lambda _: None)
            assert claiming._claim(opened, left)

    def end() -> None:
        for _ in looks:
            finish_step(STEP, scope, step_plan)
            records.forget_step_files()

    found["reads the records that are new to it"] = spent(arrive, workers)
    found["looks, all its processes busy"] = spent(look, workers)
    found["looks for the first time with an idle process"] = spent(look_idle, workers)
    found["looks again with an idle process"] = spent(look_idle, workers)
    for part in step_plan.parts[-workers:]:
        make_part(STEP, scope, part.name, 1, lambda _: None)
    assert plan_path(STEP, scope).exists()
    found["ends the step"] = spent(end, workers)
    return found


def spent(do: Callable[[], None], workers: int) -> Spent:
    """What something costs, for each worker."""
    with counting() as total:
        begun = time.process_time()
        do()
        total.ms = 1e3 * (time.process_time() - begun)
    return Spent(
        total.ms / workers, *(round(n / workers) for n in (total.names, total.files, total.read_bytes))
    )


@contextmanager
def counting() -> Iterator[Spent]:
    """Count the names that are listed, and the files that are read whole, with their bytes."""
    total, listdir, scandir, read = Spent(), os.listdir, os.scandir, Path.read_bytes

    def listed(path: Any = ".") -> list[Any]:
        names = listdir(path)
        total.names += len(names)
        return names

    @contextmanager
    def scanned(path: Any = ".") -> Iterator[Any]:
        with scandir(path) as entries:
            found = [*entries]
        total.names += len(found)
        yield iter(found)

    def counted(path: Path) -> bytes:
        content = read(path)
        total.files += 1
        total.read_bytes += len(content)
        return content

    with (
        patch.object(os, "listdir", listed),
        patch.object(os, "scandir", scanned),
        patch.object(Path, "read_bytes", counted),
    ):
        yield total


if __name__ == "__main__":
    main()
