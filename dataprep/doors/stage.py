"""`corpus import`: files of other kinds become an increment like any other.

WARC files give links, fetches and pages, which are extracted as a crawl's are; files that hold texts give
documents.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from dataprep.corpus import Corpus, Increment
from dataprep.documents import extract
from dataprep.doors import entering, jsonl, parquet, text, warc, wet
from dataprep.doors.inputs import Import, Input, agree, expand, hash_input, packs
from dataprep.doors.rows import Fields, Reader, Task, run_task
from dataprep.errors import DataError
from dataprep.links import stage as links
from dataprep.workers import Progress, run_all

READERS: dict[str, Reader] = {
    "text": text.read,
    "jsonl": jsonl.read,
    "parquet": parquet.read,
    "wet": wet.read,
}
"""How the kinds whose rows are documents are read."""
KINDS = ("warc", *READERS)


def run(
    corpus: Corpus,
    name: str,
    kind: str,
    paths: list[Path],
    fields: Fields,
    workers: int,
    progress: Progress,
) -> Increment:
    """Import files as an increment, up to its documents or pages, or go on where an earlier call stopped.

    Raises DataError for files that cannot be read at all or differ from those of an earlier call, and when
    nothing in them is of use.
    """
    inputs = expand(paths, kind)
    tasks = _tasks(kind, inputs, fields, corpus.recipe.collect.partition_mb * 1e6)
    with progress("hash", len(inputs), "files") as tick:
        digests = run_all(hash_input, [(each.path,) for each in inputs], workers, tick)
    hashes = {each.name: digest for each, digest in zip(inputs, digests, strict=True)}
    increment = corpus.increment(name)
    if not (increment.path / "import.json").exists() and corpus.index_record(increment).exists():
        raise DataError(f"{increment.path}: was made from dumps; choose another --name")
    options = asdict(fields) if kind in ("jsonl", "parquet") else {}
    agree(increment, Import(kind, options, hashes))
    if kind == "warc":
        _warc(corpus, increment, inputs, hashes, workers, progress)
    else:
        links.commit_index(corpus, increment, {})
        parts = [(corpus, increment, task, READERS[kind], fields, hashes) for task in tasks]
        with progress("read", None, "rows") as tick:
            run_all(run_task, parts, workers, tick)
    _refuse_nothing(corpus, increment)
    return increment


def _tasks(kind: str, inputs: list[Input], fields: Fields, limit: float) -> list[Task]:
    if kind == "parquet":
        return list(parquet.tasks(inputs, fields, limit))
    return [Task(number, pack) for number, pack in enumerate(packs(inputs, limit))]


def _warc(
    corpus: Corpus,
    increment: Increment,
    inputs: list[Input],
    hashes: dict[str, str],
    workers: int,
    progress: Progress,
) -> None:
    if not corpus.index_record(increment).exists():
        place = {each.name: number for number, each in enumerate(inputs)}
        parts = [
            (corpus, increment, number, [(place[each.name], each) for each in pack], hashes)
            for number, pack in enumerate(packs(inputs, corpus.recipe.collect.partition_mb * 1e6))
        ]
        with progress("scan", None, "captures") as tick:
            run_all(warc.scan, parts, workers, tick)
        entering.enter(corpus, increment)
    entering.tidy(increment)


def _refuse_nothing(corpus: Corpus, increment: Increment) -> None:
    """Raise DataError when no row or capture was of use: the kind or a column's name is likely wrong."""
    records = increment.records(links.STAGE) or increment.records(extract.STAGE)
    if increment.closed or any(record.passed for record in records):
        return
    reasons: dict[str, int] = {}
    for record in records:
        for reason, number in record.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + number
    found = ", ".join(f"{number:,} {reason}" for reason, number in reasons.items()) or "nothing at all"
    raise DataError(
        f"{increment.path}: no document is in these files ({found}); is the --kind right, and for JSONL the "
        f"--text-field? `corpus drop {corpus.root} {increment.name}`, then import again"
    )
