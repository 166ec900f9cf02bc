"""`corpus add` and `corpus import`: bring one increment to facts, then extend the build.

Stages run one after the other; each is done partition by partition, and running again does only what is not
committed. `links -> fetch -> extract -> score`, then the increment is closed and judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataprep.corpus.directory import FACTS, Build, Corpus, Increment
from dataprep.crawl import rounds
from dataprep.crawl.outcomes import UNREACHED
from dataprep.crawl.settings import CrawlSettings
from dataprep.decontaminate import stage as decontaminate
from dataprep.errors import DataError
from dataprep.extract import stage as extract
from dataprep.imports import stage as imports
from dataprep.imports.byte_ranges import Archive
from dataprep.imports.rows import Fields
from dataprep.links import stage as links
from dataprep.score import stage as score
from dataprep.selection import (
    candidates,
    corpus_order,
    exact_duplicates,
    near_duplicates,
    partition,
    shingles,
    verdicts,
)
from dataprep.selection.exclude import begin
from dataprep.selection.workspace import Work
from dataprep.shards import stage as shards
from dataprep.shards import text_shards
from dataprep.store import locks
from dataprep.store.checksummed_json import sealed
from dataprep.store.files import write_once
from dataprep.store.pool import Progress, run_all
from dataprep.store.records import Record

STAGES = ("links", "fetch", "extract", "score", "select")
"""Where `--until` can stop; `select` stands for all steps of the build."""


def add(
    corpus: Corpus,
    name: str,
    dumps: list[Path],
    crawl: CrawlSettings,
    workers: int,
    until: str,
    progress: Progress,
    watching: rounds.Watching,
    retry_failed: bool = False,
) -> Increment:
    """Ingest an increment, or go on where an earlier call stopped; returns it.

    retry_failed: fetch again what failed for a temporary reason, here and in earlier increments.

    Raises DataError for dumps that hold no submission (then nothing of the increment stays) or differ from
    those the increment was made of, and while another command makes its links.
    """
    increment = corpus.increment(name)
    imports.refuse_dumps(corpus, increment)
    last = STAGES.index(until)
    with locks.alone(increment.path), progress("links", None, "submissions") as tick:
        try:
            links.run(corpus, increment, dumps, tick)
        except DataError:
            if not corpus.index_record(increment).exists():
                corpus.drop(increment.name)  # so that the right dumps can be added at once
            raise
    if last >= 1 and (retry_failed or not increment.closed):
        rounds.run(corpus, increment, crawl, watching, retry_failed)
        _refuse_silence(corpus, increment)
    if last >= 2 and not increment.closed:
        _extract(corpus, increment, workers, progress)
    if last >= 3 and not increment.closed:
        score_documents(corpus, increment, workers, progress)
        close(corpus, increment)
    if last >= 4:
        extend(corpus, workers, progress)
    return increment


def bring(
    corpus: Corpus,
    name: str,
    kind: str,
    paths: list[Path],
    fields: Fields,
    archive: Archive | None,
    workers: int,
    progress: Progress,
) -> Increment:
    """Import files as an increment, or go on where an earlier call stopped; returns it.

    Raises DataError for files that cannot be read or differ from those that the increment was made of.
    """
    increment = imports.run(corpus, name, kind, paths, fields, archive, workers, progress)
    if not increment.closed:
        _extract(corpus, increment, workers, progress)
        score_documents(corpus, increment, workers, progress)
        close(corpus, increment)
    extend(corpus, workers, progress)
    return increment


def _refuse_silence(corpus: Corpus, increment: Increment) -> None:
    """Raise DataError when a crawl reached nobody at all: it is this machine that is cut off, not the web."""
    ended = rounds.outcomes(corpus, [increment])
    if not increment.closed and UNREACHED & ended.keys() and not ended.keys() - UNREACHED - {"deferred"}:
        how = ", ".join(f"{number:,} {outcome}" for outcome, number in ended.most_common())
        raise DataError(
            f"{increment.path}: no server answered ({how}); go on with --retry-failed, or, if this machine "
            f"was offline, `outbound corpus drop {corpus.root} {increment.name}` and add the dumps again"
        )


def close(corpus: Corpus, increment: Increment) -> None:
    """Write `increment.json`: the increment is finished, and builds may read it."""
    write_once(increment.summary_path, summary(corpus, increment))


def summary(corpus: Corpus, increment: Increment) -> bytes:
    """What `increment.json` says: what each stage counted, with which versions."""
    stages: dict[str, Any] = {
        stage: [
            {
                "part": record.part,
                "entered": record.entered,
                "passed": record.passed,
                "reasons": record.reasons,
            }
            | {"versions": record.versions}
            for record in increment.records(stage)
        ]
        for stage in FACTS
    }
    facts = {"number": increment.number, "name": increment.name}
    return sealed(facts | {"stages": stages})


def extend(corpus: Corpus, workers: int, progress: Progress) -> Build:
    """Bring the build of the recipe's selection up to the last closed increment, and make it current.

    Raises DataError while another command does just that.
    """
    score.refuse_mixture(corpus)
    if not any(increment.closed for increment in corpus.increments()):
        raise DataError(
            f"{corpus.root}: has no finished increment to select from; run `outbound corpus add` first"
        )
    build = begin(corpus)
    if corpus.recipe.select.decontaminate:
        decontaminate.prepare(corpus, build)
    with locks.alone(build.path):
        decided = list[Increment]()
        while closed := [each for each in corpus.increments() if each.closed and each not in decided]:
            for increment in closed:  # and those that another command has closed meanwhile
                if not text_shards.complete(build, increment):
                    _decide(corpus, build, increment, workers, progress)
            decided += closed
        corpus.make_current(build)
    return build


def _decide(corpus: Corpus, build: Build, increment: Increment, workers: int, progress: Progress) -> None:
    """Every document of an increment gets its verdict, and those that are kept are written."""
    judged = judge(corpus, build, increment, workers, progress)
    if corpus.recipe.select.decontaminate:
        _decontaminate(corpus, build, increment, workers, progress)
    with progress("shard", judged.passed, "documents") as tick:
        parts = [(corpus, build, increment, shard) for shard in shards.plan(corpus, build, increment)]
        run_all(shards.run_part, parts, workers, tick)


def _decontaminate(
    corpus: Corpus, build: Build, increment: Increment, workers: int, progress: Progress
) -> None:
    parts = [(corpus, build, increment, number) for number in range(len(increment.records("documents")))]
    with progress("decontaminate", None, "documents") as tick:
        run_all(decontaminate.find_part, parts, workers, tick)
    decontaminate.clean_increment(corpus, build, increment)


def _extract(corpus: Corpus, increment: Increment, workers: int, progress: Progress) -> None:
    plan = extract.plan(corpus, increment)
    # few partitions would leave workers idle: then each is read by all, one partition after the other
    processes, children = (workers, 1) if len(plan) >= 4 * workers else (1, workers)
    parts = [(corpus, increment, number, places, children) for number, places in enumerate(plan)]
    with progress("extract", sum(len(places) for places in plan), "pages") as tick:
        run_all(extract.run_part, parts, processes, tick)


def score_documents(corpus: Corpus, increment: Increment, workers: int, progress: Progress) -> None:
    """Stage `score` of one increment."""
    parts = [(corpus, increment, record) for record in increment.records(extract.STAGE)]
    with progress("score", sum(record.passed for _, _, record in parts), "documents") as tick:
        run_all(score.run_part, parts, workers, tick)


def judge(corpus: Corpus, build: Build, increment: Increment, workers: int, progress: Progress) -> Record:
    """Steps `select` and `dedup` of one increment, once those before it are judged."""
    this = (corpus, build, increment)
    work = Work.of(*this)
    if record := verdicts.finished(work):
        work.clear()  # what a run left that was killed in between
        return record
    documents = sum(record.passed for record in increment.records("documents"))
    with progress("select", documents, "documents") as tick:
        parts = [(*this, number) for number in range(len(increment.records("documents")))]
        run_all(partition.run_part, parts, workers, tick)
    with progress("order", documents, "documents") as tick:
        corpus_order.run(*this, tick)
    with progress("bands", None, "keys") as tick:
        run_all(
            candidates.run_part, [(*this, *each) for each in enumerate(candidates.plan(work))], workers, tick
        )
    with progress("copies", documents, "documents") as tick:
        exact_duplicates.run(*this, tick)
    with progress("shingles", None, "documents") as tick:
        run_all(shingles.run_part, [(*this, place) for place in shingles.plan(work)], workers, tick)
    with progress("compare", documents, "documents") as tick:
        run_all(
            near_duplicates.run_part, [(*this, *each) for each in near_duplicates.plan(work)], workers, tick
        )
    with progress("verdicts", documents, "documents") as tick:
        return verdicts.run(*this, tick)
