"""`corpus verify`: every file that another names stands and has its size and hash, and every count adds up.

The manifest names what no other file does (`corpus/known_files.py`), and checks itself.

To check a record with its files, or a step file with its records, is a function of files to a list of
problems, so any process can do it: `join` shares the calls between machines. Memory: 200 bytes a record, some
step files, and that of `reconcile`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep import all_records
from dataprep.audit import gc
from dataprep.audit.reconcile import mismatches
from dataprep.corpus.directory import JOBS, Corpus, Increment
from dataprep.corpus.frozen import FROZEN
from dataprep.corpus.known_files import (
    CHECKED,
    RECIPE,
    REPORT_FILES,
    not_known_yet,
    remedy,
    unfinished_forget,
)
from dataprep.errors import DataError
from dataprep.imports.inputs import kind_of
from dataprep.pack import verify as packed
from dataprep.score.quality import model as quality
from dataprep.steps import STEPS
from dataprep.store import root_manifest
from dataprep.store.calls import ALONE, Run
from dataprep.store.checksummed_json import load
from dataprep.store.files import Output, hash_file
from dataprep.store.pool import Tick
from dataprep.store.records import Record, forget_step_files, load_record, load_step, step_path

FOLDERS = ("increments", "builds", "index", "forgotten", JOBS, "logs", "wandb")
ENTRIES = frozenset([RECIPE, FROZEN, root_manifest.NAME, ".lock", *REPORT_FILES, *FOLDERS])
"""What a corpus's directory holds."""
FILE_BYTES = 1 << 20
"""To open a file takes about as long as to hash so many bytes."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. unknown, unfinished: as `unknown` and `not_known_yet`; only when nothing is wrong."""

    problems: list[str]
    unknown: list[str] = []
    unfinished: list[str] = []


def files(corpus: Corpus, tokens: Sequence[Path] = ()) -> int:
    """How many files `all_problems` ticks on this machine, as far as the files that name them can be read."""
    named = sum(len(record.outputs) for _, record in _records(corpus) if record)
    return named + sum(map(packed.files, tokens))


def all_problems(corpus: Corpus, tokens: Sequence[Path], run: Run) -> list[str]:
    """What is wrong with a corpus and with token shards of it."""
    of_tokens = (packed.problems(corpus, path, run) for path in tokens)
    return [*problems(corpus, run), *chain.from_iterable(of_tokens)]


def report(corpus: Corpus, found: list[str]) -> Report:
    """The report on a corpus in which these problems were found."""
    if found:
        return Report(problems=found)
    return Report(problems=[], unknown=unknown(corpus), unfinished=not_known_yet(corpus.root))


def problems(corpus: Corpus, run: Run = ALONE) -> Iterator[str]:
    """What is wrong and what to do about it, one line each.

    Counts of steps are compared only when every file is right, since a wrong file makes them wrong, too.
    """
    forget_step_files()
    reported = set[str]()
    with suppress(DataError):  # a damaged tombstone is reported below
        if begun := unfinished_forget(corpus.root):  # its files are half swapped
            yield begun
            return
    for problem in chain(_unnamed_by_others(corpus), _damage(corpus, run)):
        if problem not in reported:  # several checks read some files
            yield problem
        reported.add(problem)
    if not reported:
        for mismatch in mismatches(corpus, run):
            yield f"{mismatch}; {remedy(corpus.root, mismatch.partition(':')[0])}"


def unknown(corpus: Corpus) -> list[str]:
    """Files that belong to nothing, relative to the corpus: garbage that `gc` removes, or files of yours."""
    strangers = [
        path for path in corpus.root.iterdir() if path.name not in ENTRIES | {corpus.recipe.collect.quality}
    ]
    found = {*strangers, *(garbage.path for garbage in gc.find(corpus))}
    return sorted(str(path.relative_to(corpus.root)) for path in found)


def _unnamed_by_others(corpus: Corpus) -> Iterator[str]:
    """What is wrong with the manifest and with the files that only it names."""
    root = corpus.root
    try:
        lost, altered = root_manifest.lost(root), root_manifest.altered(root)
    except DataError as error:
        yield str(error)
    else:
        yield from (f"{name}: missing; {remedy(root, name)}" for name in lost)
        for name in altered:
            edited = f", or, if you edited its `select` section, run `outbound corpus select {root}`"
            yield f"{name}: its content has changed; {remedy(root, name)}{edited if name == RECIPE else ''}"
    for path in (path for pattern in CHECKED for path in sorted(root.glob(pattern))):
        if path.suffix == ".json" and not path.name.endswith(".step.json") and path.parent.name != "done":
            try:
                load(path, dict[str, Any])
            except DataError as error:
                yield str(error)


def _damage(corpus: Corpus, run: Run) -> Iterator[str]:
    parts = [*_parts(corpus)]
    calls, sizes = [(path,) for path, _ in parts], [size for _, size in parts]
    yield from chain.from_iterable(run("records", partial(_check, corpus.root), calls, sizes))
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


def _parts(corpus: Corpus) -> Iterator[tuple[str, int]]:
    """The paths of records and then of step files in the corpus, with the bytes to be read for them."""
    records = Counter[Path]()
    for path, record in _records(corpus):
        outputs = record.outputs.values() if record else ()
        records[path.parent] += 1
        yield str(path), sum(FILE_BYTES + output.bytes for output in outputs)
    for step, file in all_records.step_files(corpus):
        if not step.temporary:
            path = file.relative_to(corpus.root)
            yield str(path), FILE_BYTES * records[path.parent / step.name]


def _check(root: Path, name: str, tick: Tick) -> list[str]:
    """What is wrong with a step file, or with a record and its files."""
    path = root / name
    return list(_step(root, path) if name.endswith(".step.json") else _record(root, path, tick))


def _record(root: Path, path: Path, tick: Tick) -> Iterator[str]:
    try:
        record = load_record(path)
    except DataError as error:
        if path.exists():  # else a command that runs has just removed it, as steps are when they are done
            yield str(error)
        return
    accounted = record.passed + sum(record.reasons.values())
    if record.entered != accounted:
        counts = f"{record.entered:,} entered, but {accounted:,} passed or have a reason"
        name = str(path.relative_to(root))
        yield f"{name}: {counts}; {remedy(root, name)}"
    for output in record.outputs.values():
        tick(1)
        if wrong := _wrong(root / output.path, output):
            yield f"{output.path}: {wrong}; {remedy(root, output.path)}"


def _wrong(path: Path, output: Output) -> str:
    """What is wrong with a file that a record names, "" if nothing is."""
    if not path.is_file():
        return "missing"
    if path.stat().st_size != output.bytes:
        return f"{path.stat().st_size:,} bytes, {output.bytes:,} were recorded"
    if hash_file(path) != output.xxh3_128:
        return "its content has changed"
    if path.suffix == ".parquet":
        try:
            rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            return f"cannot be read ({error})"
        if rows != output.rows:
            return f"{rows:,} rows, {output.rows:,} were recorded"
    return ""


def _step(root: Path, path: Path) -> Iterator[str]:
    """What is wrong with a step file, and where it differs from the records of its parts."""
    try:
        whole = load_step(path)
    except DataError as error:
        yield str(error)
        return
    folder, here = path.parent / whole.step, path.relative_to(root)
    todo = remedy(root, str(here))
    records = {record.stem: record for record in folder.glob("*.json")}
    for part in whole.parts:
        where = (folder / f"{part.part}.json").relative_to(root)
        if part.part not in records:
            yield f"{where}: missing; {todo}"
            continue
        with suppress(DataError):  # `_record` names damaged ones
            record = load_record(records[part.part])
            names = ("outputs", "entered", "passed", "reasons", "versions")
            if differ := [name for name in names if getattr(record, name) != getattr(part, name)]:
                yield f"{where}: has other {', '.join(differ)} than {here}; {todo}"
    for name in sorted(records.keys() - {part.part for part in whole.parts}):
        where = (folder / f"{name}.json").relative_to(root)
        yield f"{where}: {here} does not list it; {todo}"


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


def _records(corpus: Corpus) -> Iterator[tuple[Path, Record | None]]:
    """Every record of a step that is not temporary with its path in the corpus; None for a damaged one."""
    for step, path in all_records.record_paths(corpus):
        if step and step.temporary:  # of a selection or an import under way
            continue
        record = None
        with suppress(DataError):
            record = load_record(path)
        yield path.relative_to(corpus.root), record
