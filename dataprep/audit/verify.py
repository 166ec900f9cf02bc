"""`corpus verify`: every record stands, every file it names has its size and hash, every count adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep import all_records
from dataprep.audit import gc
from dataprep.audit.reconcile import mismatches
from dataprep.corpus.directory import JOBS, RECIPE, REPORT_FILES, Corpus, Increment
from dataprep.corpus.frozen import FROZEN
from dataprep.errors import DataError
from dataprep.imports.inputs import kind_of
from dataprep.score.quality import model as quality
from dataprep.steps import STEPS
from dataprep.store.checksummed_json import load
from dataprep.store.files import Output, hash_file
from dataprep.store.records import Record, load_record, load_step, step_path

ENTRIES = frozenset(
    [RECIPE, FROZEN, "increments", "builds", "index", "forgotten", JOBS, "wandb", ".lock", *REPORT_FILES]
)
"""What a corpus's directory holds."""


def files(corpus: Corpus) -> int:
    """How many files the readable records of the corpus name: what `problems` ticks."""
    return sum(len(record.outputs) for _, record in _records(corpus) if isinstance(record, Record))


def problems(corpus: Corpus, tick: Callable[[int], None]) -> Iterator[str]:
    """What is wrong, one line each; `tick` counts files.

    Counts between steps are compared when every file is right: else they only say the same once more.
    """
    sound = True
    for problem in _damage(corpus, tick):
        sound = False
        yield problem
    if sound:
        yield from mismatches(corpus)


def unknown(corpus: Corpus) -> list[str]:
    """Files that belong to nothing, relative to the corpus: garbage that `gc` removes, or files of yours."""
    strangers = [
        path for path in corpus.root.iterdir() if path.name not in ENTRIES | {corpus.recipe.collect.quality}
    ]
    found = {*strangers, *(garbage.path for garbage in gc.find(corpus))}
    return sorted(str(path.relative_to(corpus.root)) for path in found)


def _damage(corpus: Corpus, tick: Callable[[int], None]) -> Iterator[str]:
    for path, record in _records(corpus):
        if isinstance(record, str):
            yield record
            continue
        accounted = record.passed + sum(record.reasons.values())
        if record.entered != accounted:
            yield f"{path}: {record.entered:,} entered, but {accounted:,} passed or have a reason"
        for output in record.outputs.values():
            tick(1)
            yield from _check(corpus, output)
    for _, path in all_records.step_files(corpus):
        yield from _step(corpus, path)
    for increment in corpus.increments():
        try:
            kind_of(increment)
        except DataError as error:
            yield str(error)
        if increment.closed:
            yield from _lost(corpus, increment)
    if corpus.has_build:
        try:
            corpus.current_build()
        except DataError as error:
            yield str(error)
    if corpus.recipe.collect.quality:
        try:
            quality.load(corpus.root / corpus.recipe.collect.quality)
        except DataError as error:
            yield str(error)


def _check(corpus: Corpus, output: Output) -> Iterator[str]:
    path = corpus.root / output.path
    if not path.is_file():
        yield f"{output.path}: missing"
    elif path.stat().st_size != output.bytes:
        yield f"{output.path}: {path.stat().st_size:,} bytes, {output.bytes:,} were recorded"
    elif hash_file(path) != output.xxh3_128:
        yield f"{output.path}: its content has changed"
    elif path.suffix == ".parquet":
        try:
            rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            yield f"{output.path}: cannot be read ({error})"
        else:
            if rows != output.rows:
                yield f"{output.path}: {rows:,} rows, {output.rows:,} were recorded"


def _step(corpus: Corpus, path: Path) -> Iterator[str]:
    """What is wrong with a step file, and where it differs from the records of its parts."""
    try:
        whole = load_step(path)
    except DataError as error:
        yield str(error)
        return
    folder = path.parent / whole.step
    records = {record.stem: record for record in folder.glob("*.json")}
    for part in whole.parts:
        where = (folder / f"{part.part}.json").relative_to(corpus.root)
        if part.part not in records:
            yield f"{where}: missing; restore it from a copy"
            continue
        with suppress(DataError):  # `_records` names damaged ones
            record = load_record(records[part.part])
            names = ("outputs", "entered", "passed", "reasons", "versions")
            if differ := [name for name in names if getattr(record, name) != getattr(part, name)]:
                yield f"{where}: has other {', '.join(differ)} than {path.relative_to(corpus.root)}"
    for name in sorted(records.keys() - {part.part for part in whole.parts}):
        where = (folder / f"{name}.json").relative_to(corpus.root)
        yield f"{where}: {path.relative_to(corpus.root)} does not list it"


class Summary(msgspec.Struct):
    """What of `increment.json` is held against the step files."""

    steps: dict[str, dict[str, Any]]


def _lost(corpus: Corpus, increment: Increment) -> Iterator[str]:
    """Step files that a closed increment lists and that no longer stand, or are of another origin."""
    summary = increment.summary_path
    try:
        listed = load(summary, Summary).steps
    except DataError as error:
        yield str(error)
        return
    for step in STEPS:
        if step.at != "facts" or step.temporary:
            continue
        path = step_path(increment.path, step.name)
        where, there = path.relative_to(corpus.root), summary.relative_to(corpus.root)
        if not path.exists():
            yield f"{where}: missing; restore it from a copy"
        elif step.name not in listed:
            yield f"{there}: does not list the step {step.name}; restore it from a copy"
        else:
            with suppress(DataError):
                if load_step(path).origin != listed[step.name]["origin"]:
                    yield f"{where}: is not the one that {there} names; restore it from a copy"


def _records(corpus: Corpus) -> Iterator[tuple[Path, Record | str]]:
    """Every record with its path, or what is wrong with it."""
    for _, path in all_records.record_paths(corpus):
        try:
            yield path.relative_to(corpus.root), load_record(path)
        except DataError as error:
            if path.exists():  # else a command that runs has just removed it, as steps are when they are done
                yield path, str(error)
