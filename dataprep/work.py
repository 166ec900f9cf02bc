"""`corpus work`: one of many workers, on any machines, that bring a corpus further.

The steps and the functions are those of `corpus add` and `corpus select`; only who makes which part differs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from dataprep import steps
from dataprep.corpus import known_files
from dataprep.corpus.directory import JOBS, Corpus, Facts, Increment
from dataprep.crawl import retry_queue, rounds
from dataprep.crawl.settings import CrawlSettings
from dataprep.errors import DataError
from dataprep.extract import stage as extract
from dataprep.imports import stage as imports
from dataprep.imports.inputs import kind_of
from dataprep.ingest import decide, extract_and_score, refuse_few_pages
from dataprep.links.inputs import dumps_of
from dataprep.store.claiming import Claiming
from dataprep.store.files import write_once
from dataprep.store.pool import Progress
from dataprep.store.presence import LeaseLapsed, Presence
from dataprep.store.records import step_path
from dataprep.store.requests import Excluded, newest
from dataprep.store.step import run_steps

Work = Callable[[Path, Claiming, Progress], str]
"""What a worker of one kind does until nothing is left for it; says what stands then.

Raises DataError when something is missing that no worker of this kind makes, GivenUp when parts failed too
often, BadMachine when this machine cannot go on, and Stopped when it was asked to end before.
"""


def work(on: Work, presence: Presence, progress: Progress) -> str:
    """Be a worker of some kind, from the beginning again after each command that removes; raises as Work."""
    root = presence.root
    with presence.kept(), closing(Claiming(presence)) as claiming:
        while True:
            try:
                with known_files.remembering(root):
                    return on(root, claiming, progress)
            except LeaseLapsed:
                presence.wait_for_disk()
            except (Excluded, DataError, OSError) as error:
                # Whoever slept through a removal may first find things missing.
                if not isinstance(error, Excluded) and newest(root) <= presence.worker.heeds:
                    raise
                presence.stand_aside()


def enter_links(root: Path, claiming: Claiming, progress: Progress) -> str:
    """Do the steps from dumps to links of each increment whose dumps were noted by `corpus add`."""
    corpus = Corpus.open(root, remaking=True)
    waiting = [each for each in corpus.increments() if not (each.closed or kind_of(each))]
    for increment in waiting:
        dumps_of(increment)  # or say that they were not noted
        run_steps(steps.LINKS, Facts(corpus, increment), claiming, progress)
    return f"{root}: the links of all dumps are in"


def crawler(settings: CrawlSettings, watching: rounds.Watching) -> Work:
    """Workers that fetch, with these settings: the links of each increment are crawled once."""

    def crawl_links(root: Path, claiming: Claiming, progress: Progress) -> str:
        corpus, unready = Corpus.open(root, remaking=True), []
        for increment in corpus.increments():
            if kind_of(increment) or is_fetched(corpus, increment):
                continue
            if not steps.LINKS[-1].is_whole(Facts(corpus, increment)):
                unready.append(increment.path.name)
                continue
            limited = settings.limited(corpus.recipe.collect.crawl)
            begun = -1
            while begun != (begun := len(increment.records(retry_queue.STEP))):  # another may have begun one
                rounds.run(corpus, increment, limited, watching, claiming.presence)
            refuse_few_pages(corpus, increment, limited.min_pages)
            write_once(corpus.fetched_mark(increment), b"")
        if unready:
            raise DataError(
                f"{root}: {', '.join(unready)}: the links are not made yet, so nothing can be fetched; run "
                f"`outbound corpus add {root} ... --until links` again"
            )
        return f"{root}: all links are fetched"

    return crawl_links


def make_shards(root: Path, claiming: Claiming, progress: Progress) -> str:
    """Do all that comes after the crawl, until what is fetched is in the current build."""
    corpus = Corpus.open(root, remaking=True)
    unready = []
    for increment in corpus.increments():
        if is_fetched(corpus, increment):
            made = {extract.STEP} if kind_of(increment) in imports.READERS else set[str]()
            extract_and_score(corpus, increment, {*steps.UNTIL} - made, claiming, progress)
        else:
            unready.append(increment.path.name)
    build = decide(corpus, claiming, progress)
    if unready:
        raise DataError(
            f"{root}: {', '.join(unready)}: not fetched to the end, so nothing more can be made of it; run "
            f"`outbound corpus add {root} ... --until {rounds.STEP}`, or its `outbound corpus import`, again"
        )
    return f"{build.path} is the current build"


KINDS: dict[str, Work] = {"links": enter_links, "cpu": make_shards}
"""Kinds of workers besides crawlers: `links` reads much and computes little, `cpu` needs cores."""


def is_fetched(corpus: Corpus, increment: Increment) -> bool:
    """Whether nothing more is fetched for an increment."""
    return (
        increment.closed
        or step_path(increment.path, rounds.STEP).exists()
        or corpus.fetched_mark(increment).exists()
    )


def try_again(root: Path, place: str = "") -> None:
    """Let parts that were given up be tried again. place: only those of plans in that folder of `jobs`."""
    for failure in (root / JOBS / place).rglob("*.failed/*.json"):
        failure.unlink(missing_ok=True)
        claim = failure.parent.with_suffix(".claims") / failure.name
        claim.unlink(missing_ok=True)
