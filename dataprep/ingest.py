"""`corpus add` and `corpus import`: bring one increment to facts, then extend the build.

Stages run one after the other; each is done partition by partition, and running again does only what is not
committed. `links -> fetch -> extract -> score`, then the increment is closed and judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataprep import lock
from dataprep.builds import (
    compare,
    copied,
    decontaminate,
    join,
    order,
    selected,
    shingled,
    text_shards,
    verdicts,
)
from dataprep.builds.excluded import begin
from dataprep.builds.work import Work
from dataprep.corpus import FACTS, Build, Corpus, Increment
from dataprep.crawl import stage as fetch
from dataprep.crawl.outcomes import UNREACHED
from dataprep.crawl.settings import CrawlSettings
from dataprep.documents import extract, score
from dataprep.doors import stage as doors
from dataprep.doors.ranges import Archive
from dataprep.doors.rows import Fields
from dataprep.errors import DataError, UsageError
from dataprep.links import stage as links
from dataprep.seal import sealed
from dataprep.store import Record, write_once
from dataprep.workers import Progress, run_all

STAGES = ("links", "fetch", "extract", "score", "select")
"""Where `--until` can stop; `select` stands for all steps of the build."""


def place_of(stage: str) -> int:
    """The place of a stage in their order; raises UsageError when there is no such stage."""
    if stage not in STAGES:
        raise UsageError(f"--until {stage}: is no stage; give one of {', '.join(STAGES)}")
    return STAGES.index(stage)


def add(
    corpus: Corpus,
    name: str,
    dumps: list[Path],
    crawl: CrawlSettings,
    workers: int,
    until: str,
    progress: Progress,
    watching: fetch.Watching,
    retry_failed: bool = False,
) -> Increment:
    """Ingest an increment, or go on where an earlier call stopped; returns it.

    retry_failed: fetch again what failed for a temporary reason, here and in earlier increments.

    Raises DataError for dumps that hold no submission (then nothing of the increment stays) or differ from
    those the increment was made of, and while another command makes its links.
    """
    last = place_of(until)
    increment = corpus.increment(name)
    doors.refuse_dumps(corpus, increment)
    with lock.alone(increment.path), progress("links", None, "submissions") as tick:
        try:
            links.run(corpus, increment, dumps, tick)
        except DataError:
            if not corpus.index_record(increment).exists():
                corpus.drop(increment.name)  # so that the right dumps can be added at once
            raise
    if last >= 1 and (retry_failed or not increment.closed):
        fetch.run(corpus, increment, crawl, watching, retry_failed)
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
    increment = doors.run(
        corpus,
        name,
        kind=kind,
        paths=paths,
        fields=fields,
        archive=archive,
        workers=workers,
        progress=progress,
    )
    if not increment.closed:
        _extract(corpus, increment, workers, progress)
        score_documents(corpus, increment, workers, progress)
        close(corpus, increment)
    extend(corpus, workers, progress)
    return increment


def _refuse_silence(corpus: Corpus, increment: Increment) -> None:
    """Raise DataError when a crawl reached nobody at all: it is this machine that is cut off, not the web."""
    ended = fetch.outcomes(corpus, [increment])
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
    with lock.alone(build.path):
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
        shards = text_shards.plan(corpus, build, increment)
        parts = [(corpus, build, increment, shard) for shard in shards]
        run_all(text_shards.run_part, parts, workers, tick)


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
        run_all(selected.run_part, parts, workers, tick)
    with progress("order", documents, "documents") as tick:
        order.run(*this, tick)
    with progress("bands", None, "keys") as tick:
        run_all(join.run_part, [(*this, *each) for each in enumerate(join.plan(work))], workers, tick)
    with progress("copies", documents, "documents") as tick:
        copied.run(*this, tick)
    with progress("shingles", None, "documents") as tick:
        run_all(shingled.run_part, [(*this, place) for place in shingled.plan(work)], workers, tick)
    with progress("compare", documents, "documents") as tick:
        run_all(compare.run_part, [(*this, *each) for each in compare.plan(work)], workers, tick)
    with progress("verdicts", documents, "documents") as tick:
        return verdicts.run(*this, tick)
