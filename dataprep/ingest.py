"""`corpus add` and `corpus import`: bring one increment to facts, then extend the build.

`steps.py` has the steps in order. Each is done part by part, and running a command again does only what is
not committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from dataprep import steps
from dataprep.corpus import known_files
from dataprep.corpus.directory import Build, Corpus, Decisions, Facts, Increment
from dataprep.crawl import rounds
from dataprep.crawl.settings import CrawlSettings
from dataprep.errors import DataError
from dataprep.extract import stage as extract
from dataprep.imports import stage as imports
from dataprep.imports.byte_ranges import Archive
from dataprep.imports.rows import Fields
from dataprep.links import stage as links
from dataprep.links.inputs import agree
from dataprep.links.posts import NoDump
from dataprep.score import stage as score
from dataprep.selection.exclude import begin
from dataprep.shards import text_shards
from dataprep.store import locks
from dataprep.store.checksummed_json import dump
from dataprep.store.files import write_once
from dataprep.store.pool import Progress
from dataprep.store.presence import LEASE_S, LeaseLapsed, Presence
from dataprep.store.records import finish_led, load_step, step_path
from dataprep.store.requests import Excluded
from dataprep.store.step import Executor, LocalPool, run_step, run_steps
from dataprep.store.workers import new_worker


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
    plan_only: bool = False,
    allow_truncated: bool = False,
) -> Increment:
    """Ingest an increment, or go on where an earlier call stopped; returns it.

    until: the last step to do, one of `steps.UNTIL`, or `steps.DUMPS`. retry_failed: fetch again what failed
    for a temporary reason, here and in earlier increments. plan_only: plan the crawl, and stop before
    anything is asked. allow_truncated: take what a truncated dump holds.

    Raises DataError for dumps that hold no submission or are truncated (then nothing of the increment stays),
    or differ from those the increment was made of, and while another command makes its links.
    """
    increment = corpus.increment(name)
    imports.refuse_dumps(increment)
    chosen = steps.until(until)
    with known_files.remembering(corpus.root):
        with locks.alone(increment.path):
            enter = enter_links if plan_only or chosen else note_dumps
            enter(corpus, increment, dumps, workers, progress, allow_truncated)
        if plan_only:
            _crawl(corpus, increment, crawl, watching, plan_only=True)
            return increment
        if rounds.STEP in chosen and (retry_failed or not increment.closed):
            ended = corpus.fetched_mark(increment)
            ended.unlink(missing_ok=True)
            _crawl(corpus, increment, crawl, watching, retry_failed=retry_failed)
            refuse_few_pages(corpus, increment, crawl.min_pages)
            if until == rounds.STEP:
                write_once(ended, b"")
        extract_and_score(corpus, increment, chosen, LocalPool(workers), progress)
        if text_shards.STEP in chosen:
            extend(corpus, workers, progress)
    return increment


def note_dumps(
    corpus: Corpus,
    increment: Increment,
    dumps: list[Path],
    workers: int,
    progress: Progress,
    allow_truncated: bool = False,
) -> None:
    """Note which dumps an increment is made of: then any worker can read them.

    Raises DataError when they differ from those the increment was made of.
    """
    agree(increment, dumps, workers, progress, allow_truncated)
    if not steps.LINKS[-1].is_whole(Facts(corpus, increment)):
        links.discard_other_versions(increment)


def enter_links(
    corpus: Corpus,
    increment: Increment,
    dumps: list[Path],
    workers: int,
    progress: Progress,
    allow_truncated: bool = False,
) -> None:
    """Do the steps from dumps to links, or what is left of them.

    Two commands may do this at once, and end with the same bytes.

    Raises DataError for dumps that hold no submission or are truncated (then nothing of the increment stays),
    or differ from those the increment was made of.
    """
    note_dumps(corpus, increment, dumps, workers, progress, allow_truncated)
    scope, pool = Facts(corpus, increment), LocalPool(workers)
    links_step = steps.LINKS[-1]
    try:
        run_steps(steps.LINKS, scope, pool, progress)
    except NoDump:
        corpus.drop(increment.name)  # so that the right dumps can be added at once
        raise
    except (DataError, OSError):
        if not links_step.is_whole(scope):
            raise
        # another command has finished the links, and removed what this one was reading
        run_steps(steps.LINKS, scope, pool, progress)


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
    with known_files.remembering(corpus.root):
        increment = imports.run(
            corpus,
            name,
            kind=kind,
            paths=paths,
            fields=fields,
            archive=archive,
            workers=workers,
            progress=progress,
        )
        made = {extract.STEP} if kind in imports.READERS else set()
        extract_and_score(corpus, increment, {*steps.UNTIL} - made, LocalPool(workers), progress)
        extend(corpus, workers, progress)
    return increment


def extract_and_score(
    corpus: Corpus, increment: Increment, chosen: Container[str], execute: Executor, progress: Progress
) -> None:
    """Do those of the increment's planned steps that are chosen; after the last, the increment is closed."""
    if increment.closed:
        return
    planned = [steps.BY_NAME[name] for name in (extract.STEP, score.STEP)]
    wanted = [step for step in planned if step.name in chosen]
    if wanted:
        rounds.finish(increment)
    run_steps(wanted, Facts(corpus, increment), execute, progress)
    if planned[-1] in wanted:
        close(increment)
        mark = corpus.fetched_mark(increment)
        mark.unlink(missing_ok=True)
        with suppress(OSError):  # other marks and plans are there
            mark.parent.rmdir()
            mark.parent.parent.rmdir()
        known_files.remember(corpus.root)


def _crawl(
    corpus: Corpus, increment: Increment, settings: CrawlSettings, watching: rounds.Watching, **wishes: bool
) -> None:
    """Crawl beside workers, as `rounds.run` with these wishes."""
    root = corpus.root
    presence = Presence(root, new_worker("add", 1), is_worker=False)
    try:
        with presence.kept():
            rounds.run(corpus, increment, settings, watching, presence, **wishes)
    except Excluded:
        raise DataError(
            f"{root}: a command that removes (forget, gc, drop) has begun; run this again when it has ended"
        ) from None
    except LeaseLapsed:
        raise DataError(
            f"{root}: could not be written for {LEASE_S:.0f} s, and then others may crawl what this command "
            "crawled; run this again to go on"
        ) from None


def refuse_few_pages(corpus: Corpus, increment: Increment, least: float) -> None:
    """Raise DataError when too few links gave a page: this machine or a proxy may be at fault, not the web.

    least: the share that must. Links that were deferred or forgotten do not count.
    """
    if step_path(increment.path, rounds.STEP).exists():
        return
    ended = rounds.outcomes(corpus, [increment])
    asked = Counter({how: number for how, number in ended.items() if how not in ("deferred", "forgotten")})
    if asked["ok"] >= least * asked.total():
        return
    how = ", ".join(f"{number:,} {outcome}" for outcome, number in asked.most_common())
    raise DataError(
        f"{increment.path}: {asked['ok']:,} of {asked.total():,} links gave a page ({how}), and "
        f"{least:.0%} must: the increment is not finished. If this machine or its proxy was at fault, add "
        f"--retry-failed, or run `outbound corpus drop {corpus.root} {increment.name}` and add the dumps "
        "again; if the pages are gone, give a smaller --min-pages"
    )


def close(increment: Increment) -> None:
    """Finish what steps are not, and write `increment.json`: builds may read the increment."""
    for step in steps.STEPS:
        if step.at == "facts" and not step.temporary:
            finish_led(increment.path, step.name, {})
    write_once(increment.summary_path, summary(increment))


def summary(increment: Increment) -> bytes:
    """What `increment.json` says of each step: its origin, parts, counts and versions."""
    found = {}
    for step in steps.STEPS:
        if step.at == "facts" and not step.temporary:
            whole = load_step(step_path(increment.path, step.name))
            reasons = sum((Counter(part.reasons) for part in whole.parts), Counter[str]())
            found[step.name] = {
                "origin": whole.origin,
                "parts": len(whole.parts),
                "entered": sum(part.entered for part in whole.parts),
                "passed": sum(part.passed for part in whole.parts),
                "reasons": dict(sorted(reasons.items())),
                "versions": whole.versions,
            }
    return dump({"number": increment.number, "name": increment.name, "steps": found})


def extend(corpus: Corpus, workers: int, progress: Progress) -> Build:
    """Bring the build of the recipe's selection up to the last closed increment, and make it current.

    Raises DataError while another command does just that.
    """
    refuse_to_decide(corpus)
    with locks.alone(begin(corpus).path):
        return decide(corpus, LocalPool(workers), progress)


def refuse_to_decide(corpus: Corpus) -> None:
    """Raise DataError where no build can be made."""
    score.refuse_mixture(corpus)
    if not any(increment.closed for increment in corpus.increments()):
        raise DataError(
            f"{corpus.root}: has no finished increment to select from; run `outbound corpus add` first"
        )


def decide(corpus: Corpus, execute: Executor, progress: Progress) -> Build:
    """The same, beside others that do so."""
    refuse_to_decide(corpus)
    known_files.take_recipe(corpus.root)
    build, first = begin(corpus), next(each for each in corpus.increments() if each.closed)
    chosen = [
        step
        for step in steps.STEPS
        if step.at in ("work", "decisions", "build")
        and (corpus.recipe.select.decontaminate or step not in steps.DECONTAMINATE)
    ]
    for step in (step for step in chosen if step.at == "build"):
        run_step(step, Decisions(corpus, build, first), execute, progress)
    decided = list[Increment]()
    while closed := [
        increment for increment in corpus.increments() if increment.closed and increment not in decided
    ]:
        for increment in closed:  # and those that another command has closed meanwhile
            if not text_shards.complete(build, increment):
                each = [step for step in chosen if step.at != "build"]
                run_steps(each, Decisions(corpus, build, increment), execute, progress)
        decided += closed
    corpus.make_current(build)
    known_files.remember(corpus.root)
    return build
