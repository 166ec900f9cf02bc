"""`corpus verify`: every record stands, every file it names has its size and hash, every count adds up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from dataprep.corpus import FACTS, Corpus, Increment
from dataprep.errors import DataError
from dataprep.store import Output, Record, hash_file, load_record


def files(corpus: Corpus) -> list[Output]:
    """Every file that a readable record of the corpus names."""
    return [
        output for _, record in _records(corpus) if isinstance(record, Record) for output in record.outputs
    ]


def problems(corpus: Corpus, tick: Callable[[int], None]) -> Iterator[str]:
    """What is wrong, one line each; `tick` is told of files."""
    for path, record in _records(corpus):
        if isinstance(record, str):
            yield record
            continue
        accounted = record.passed + sum(record.reasons.values())
        if record.entered != accounted:
            yield f"{path}: {record.entered:,} entered, but {accounted:,} passed or have a reason"
        for output in record.outputs:
            tick(1)
            yield from _check(corpus, output)
    for increment in corpus.increments():
        if increment.closed:
            yield from _lost(corpus, increment)


def _check(corpus: Corpus, output: Output) -> Iterator[str]:
    path = corpus.root / output.path
    if not path.is_file():
        yield f"{output.path}: missing"
    elif path.stat().st_size != output.bytes:
        yield f"{output.path}: {path.stat().st_size:,} bytes, {output.bytes:,} were recorded"
    elif hash_file(path) != output.xxh3_128:
        yield f"{output.path}: its content has changed"


def _lost(corpus: Corpus, increment: Increment) -> Iterator[str]:
    """Records that a closed increment lists and that no longer stand."""
    stages = json.loads((increment.path / "increment.json").read_text())["stages"]
    for stage, records in stages.items():
        for record in records:
            path = increment.path / stage / f"{record['part']}.json"
            if not path.exists():
                yield f"{path.relative_to(corpus.root)}: missing; restore it from a copy"


def _records(corpus: Corpus) -> Iterator[tuple[Path, Record | str]]:
    """Every record with its path, or what is wrong with it."""
    directories = [increment.path / stage for increment in corpus.increments() for stage in FACTS]
    directories.append(corpus.root / "index")
    builds = sorted(path for path in (corpus.root / "builds").glob("*") if path.is_dir())
    directories += [build / step for build in builds for step in ("verdicts", "text")]
    for path in (path for directory in directories for path in sorted(directory.glob("*.json"))):
        try:
            yield path.relative_to(corpus.root), load_record(path)
        except DataError as error:
            yield path, str(error)
