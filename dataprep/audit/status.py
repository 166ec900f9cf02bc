"""How far a corpus is: what was damaged, what each part takes on disk, and what brings it further."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from msgspec.structs import replace

from dataprep.audit import gc
from dataprep.audit.funnel import StageCount, funnel
from dataprep.audit.sizes import PackedTokens, Size, kept_sizes
from dataprep.corpus.directory import Corpus, Facts, Increment
from dataprep.crawl import hop_plan
from dataprep.crawl.estimate import Estimate
from dataprep.errors import DataError
from dataprep.imports.inputs import kind_of
from dataprep.shards import text_shards
from dataprep.steps import STEPS
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import read_table
from dataprep.store.workers import all_workers, is_at_work

CRAWLING = ("fetch", "add")
"""The stages of workers that crawl: those of `corpus work --stage fetch`, and of `corpus add`."""


@dataclass(frozen=True, kw_only=True)
class CrawlLeft:
    """A hop of a crawl that is planned and not done: how many of its partitions are done, and what is
    expected of the others."""

    hop: str
    partitions: int
    done: int
    expected: Estimate


@dataclass(frozen=True, kw_only=True)
class IncrementStatus:
    """One increment: how many parts of each step are done, what is left of its crawl, and what was damaged in
    its inputs."""

    increment: str
    closed: bool
    parts: dict[str, int]
    crawl: CrawlLeft | None
    damage: list[FileDamage]


@dataclass(frozen=True, kw_only=True)
class Status:
    """All that `corpus status` shows; `kept` of the current build, None without one; `opt_outs` by signal,
    `bytes` by folder, `next` the command to run next."""

    recipe: str
    build: str | None
    increments: list[IncrementStatus]
    funnel: list[StageCount]
    kept: Size | None
    opt_outs: dict[str, int]
    bytes: dict[str, int]
    next: str


def status(corpus: Corpus, packed: PackedTokens | None = None) -> Status:
    """How far a corpus is. packed: counts the tokens of what is kept, too."""
    facts = [step.name for step in STEPS if step.at == "facts" and not step.temporary]
    increments = [
        IncrementStatus(
            increment=increment.path.name,
            closed=increment.closed,
            parts={step: len(increment.parts(step)) for step in facts},
            crawl=crawl_left(corpus, increment),
            damage=damage_of(increment),
        )
        for increment in corpus.increments()
    ]
    return Status(
        recipe=corpus.recipe.name,
        build=corpus.current_build().name if corpus.has_build else None,
        increments=increments,
        funnel=funnel(corpus.root),
        kept=kept_sizes(corpus, packed).total if corpus.has_build else None,
        opt_outs=opt_outs(corpus),
        bytes=sizes(corpus),
        next=next_step(corpus),
    )


def crawl_left(corpus: Corpus, increment: Increment) -> CrawlLeft | None:
    """The hop of an increment that is planned and not done, None where there is none.

    It is expected to go on with the crawlers that are at work, or with one.
    """
    assumed, plan = hop_plan.assumed(increment), hop_plan.open_plan(increment)
    if not assumed or not plan:
        return None
    left = hop_plan.left(increment, plan)
    crawlers = [worker for worker in all_workers(corpus.root) if worker.stage in CRAWLING]
    number = max(sum(is_at_work(corpus.root, worker) for worker in crawlers), 1)
    assumed = replace(assumed, partitions=number * assumed.partitions, lines=number * assumed.lines)
    return CrawlLeft(
        hop=plan.hop,
        partitions=len(plan.partitions),
        done=len(plan.partitions) - len(left),
        expected=hop_plan.expected(corpus.root, plan, left, assumed),
    )


def damage_of(increment: Increment) -> list[FileDamage]:
    """What was damaged in the dumps of an increment, or in the files that it was imported from.

    Of a file in several partitions, the last count stands for all before it.
    """
    facts = [step.name for step in STEPS if step.at == "facts"]
    records = [record for step in facts for record in increment.records(step)]
    return list(
        {damage.path: damage for record in records for damage in record.noted(InputNotes).damage}.values()
    )


def opt_outs(corpus: Corpus) -> dict[str, int]:
    """How many links and captures had opted out of training when they were fetched or read, by signal.

    Links that were forgotten since do not count. Memory: the links that opted out.
    """
    signals: dict[bytes, str] = {}
    counts: Counter[str] = Counter()
    for increment in corpus.increments():
        for output in increment.outputs("fetch", "fetches"):
            table = read_table(corpus.root, [output], ["url_key", "outcome", "detail"])
            for row in table.to_pylist():
                signals.pop(row["url_key"], None)  # the last row of a link counts
                if row["outcome"] == "opted_out" and row["detail"]:
                    signals[row["url_key"]] = row["detail"]
        for record in increment.records("links"):
            counts.update(record.noted(InputNotes).opt_outs)
    return dict((counts + Counter(signals.values())).most_common())


def sizes(corpus: Corpus) -> dict[str, int]:
    """Bytes on disk by folder: those of the increments together, `index`, `builds`; and what is garbage."""
    found: Counter[str] = Counter()
    for path in corpus.root.rglob("*"):
        if path.is_file():
            place = path.relative_to(corpus.root).parts
            folder = place[2] if place[0] == "increments" and len(place) > 3 else place[0]
            found[folder] += path.stat().st_size
    facts = [step.name for step in STEPS if step.at == "facts"]
    shown = ("work", *facts, "pages", "index", "builds", "forgotten")
    sizes = {name: found[name] for name in shown if found[name]}
    with suppress(DataError):  # after a loss, anything may look like garbage
        sizes["garbage"] = sum(leftover.bytes for leftover in gc.find(corpus))
    return sizes


def next_step(corpus: Corpus) -> str:
    """The command that brings a corpus further, in words for a person."""
    root, increments = corpus.root, corpus.increments()
    if not increments:
        return f"`outbound corpus add {root} DUMP`, or `outbound corpus import {root} FILES --kind KIND`"
    for increment in increments:
        if not increment.closed:
            return f"{_again(corpus, increment)}, or `outbound corpus drop {root} {increment.name}`"
    build = corpus.build
    if build is None or not all(text_shards.complete(build, increment) for increment in increments):
        return f"`outbound corpus select {root}`: the current build does not hold all increments"
    return f"`outbound pack {root} --tokenizer T -o TOKENS`, or `outbound corpus add {root} DUMP`"


def _again(corpus: Corpus, increment: Increment) -> str:
    """The command that continues an unfinished increment: the one that began it."""
    root, kind = corpus.root, kind_of(increment)
    if kind and not increment.outputs("links", "links"):  # texts, of which nothing stands before documents
        return f"`outbound corpus import {root} ... --kind {kind}` again for {increment.name}"
    command = f"import {root} ... --kind {kind}" if kind else f"add {root} ..."
    return f"`outbound corpus {command}` again for {increment.name}: {_waiting(corpus, increment)} is next"


def _waiting(corpus: Corpus, increment: Increment) -> str:
    """The first step that is not finished."""
    scope = Facts(corpus, increment)
    waiting = [step.name for step in STEPS if step.at == "facts" and not (step.aside or step.is_whole(scope))]
    return waiting[0] if waiting else "closing it"
