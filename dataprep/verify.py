"""`corpus verify`: every file that a record names has its size and hash, and every count adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dataprep.corpus import FACTS, Corpus
from dataprep.store import Output, Record, hash_file


def files(corpus: Corpus) -> list[Output]:
    """Every file that a record of the corpus names."""
    return [output for record in _records(corpus) for output in record.outputs]


def problems(corpus: Corpus, tick: Callable[[int], None]) -> Iterator[str]:
    """What is wrong, one line each; `tick` is told of files."""
    for record in _records(corpus):
        if record.entered != record.passed + sum(record.reasons.values()):
            yield (
                f"{record.stage}/{record.part}: {record.entered} entered, but passed and reasons add up to "
                + str(record.passed + sum(record.reasons.values()))
            )
        for output in record.outputs:
            tick(1)
            yield from _check(corpus, output)


def _check(corpus: Corpus, output: Output) -> Iterator[str]:
    path = corpus.root / output.path
    if not path.is_file():
        yield f"{output.path}: missing"
    elif path.stat().st_size != output.bytes:
        yield f"{output.path}: {path.stat().st_size:,} bytes, {output.bytes:,} were recorded"
    elif hash_file(path) != output.xxh3_128:
        yield f"{output.path}: its content has changed"


def _records(corpus: Corpus) -> list[Record]:
    facts = [record for each in corpus.increments() for stage in FACTS for record in each.records(stage)]
    facts += corpus.index_records()
    builds = sorted(path.name for path in (corpus.root / "builds").glob("*") if path.is_dir())
    return facts + [
        record
        for name in builds
        for step in ("verdicts", "text")
        for record in corpus.named_build(name).records(step)
    ]
