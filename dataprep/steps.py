"""The steps of a corpus, in order: the one list that every command reads.

    increment:  posts -> repeats -> links -> fetch -> extract -> score
    build:      select -> order -> ranks -> candidates -> exact_duplicates -> shingles -> near_duplicates
                -> verdicts -> decontaminate -> shard

`store/step.py` says what a row means, and does a step. A step without a plan is led by its own module, since
what is to be done depends on what was done: a crawl follows where pages move. The links of an import come
from its files, without the steps before them.
"""

from __future__ import annotations

from typing import Any

from dataprep.crawl import retry_queue, rounds
from dataprep.decontaminate import stage as decontaminate
from dataprep.errors import UsageError
from dataprep.extract import stage as extract
from dataprep.imports import warc
from dataprep.links import inputs, posts, repeats
from dataprep.links import stage as links
from dataprep.redact import records as redact
from dataprep.score import stage as score
from dataprep.selection import (
    candidates,
    corpus_order,
    exact_duplicates,
    near_duplicates,
    partition,
    ranks,
    shingles,
    verdicts,
    workspace,
)
from dataprep.shards import stage as shards
from dataprep.shards.text_shards import STEP as SHARD
from dataprep.store.step import Step

STEPS: list[Step[Any]] = [
    Step(name=warc.WORK, unit="captures", at="facts", aside=True, temporary=True),  # of imported archives
    Step(
        name=posts.STEP,
        unit="submissions",
        at="reading",
        aside=True,
        temporary=True,
        inputs=inputs.hashes,
        plan=posts.plan,
        run=posts.run,
        versions=posts.versions,
    ),
    Step(
        name=repeats.STEP,
        unit="posts",
        at="reading",
        aside=True,
        temporary=True,
        reads=(posts.STEP,),
        inputs=repeats.inputs,
        plan=repeats.plan,
        run=repeats.run,
    ),
    Step(
        name=links.STEP,
        unit="posts",
        at="facts",
        inputs=links.inputs,
        plan=links.plan,
        run=links.run,
        versions=links.versions,
        forget=redact.links,
    ),
    Step(name=retry_queue.STEP, unit="links", at="facts", aside=True, forget=redact.links),
    Step(name=rounds.STEP, unit="URLs", at="facts", forget=redact.fetch),
    Step(
        name=extract.STEP,
        unit="pages",
        at="facts",
        reads=(links.STEP, retry_queue.STEP, rounds.STEP),
        plan=extract.plan,
        run=extract.run,
        divisible=True,
        versions=extract.versions,
        remake=extract.remake,
        forget=redact.extract,
    ),
    Step(
        name=score.STEP,
        unit="documents",
        at="facts",
        reads=(extract.STEP,),
        plan=score.plan,
        run=score.run,
        versions=score.versions_of,
        remake=score.remake,
    ),
    Step(
        name="select",
        unit="documents",
        at="work",
        temporary=True,
        reads=(extract.STEP, score.STEP),
        plan=partition.plan,
        run=partition.run,
    ),
    Step(
        name="order",
        unit="documents",
        at="work",
        temporary=True,
        reads=("select",),
        plan=corpus_order.plan,
        run=corpus_order.run,
    ),
    Step(
        name="ranks",
        unit="documents",
        at="work",
        temporary=True,
        reads=("select", "order"),
        plan=ranks.plan,
        run=ranks.run,
    ),
    Step(
        name="candidates",
        unit="keys",
        at="work",
        temporary=True,
        reads=("select", "order", "ranks"),
        inputs=workspace.earlier_verdicts,
        plan=candidates.plan,
        run=candidates.run,
    ),
    Step(
        name="exact_duplicates",
        unit="documents",
        at="work",
        temporary=True,
        reads=("order", "candidates"),
        plan=exact_duplicates.plan,
        run=exact_duplicates.run,
    ),
    Step(
        name="shingles",
        unit="documents",
        at="work",
        temporary=True,
        reads=("candidates", "exact_duplicates"),
        inputs=workspace.earlier_verdicts,
        plan=shingles.plan,
        run=shingles.run,
    ),
    Step(
        name="near_duplicates",
        unit="documents",
        at="work",
        temporary=True,
        reads=("candidates", "exact_duplicates", "shingles"),
        inputs=workspace.earlier_verdicts,
        plan=near_duplicates.plan,
        run=near_duplicates.run,
    ),
    Step(
        name="verdicts",
        unit="documents",
        at="decisions",
        reads=(extract.STEP, score.STEP),
        inputs=workspace.earlier_verdicts,
        plan=verdicts.plan,
        run=verdicts.run,
        versions=verdicts.versions,
        forget=redact.verdicts,
    ),
    Step(
        name=decontaminate.NGRAMS,
        unit="examples",
        at="build",
        aside=True,
        inputs=decontaminate.evaluation_sets,
        plan=decontaminate.plan_ngrams,
        run=decontaminate.run_ngrams,
        versions=decontaminate.versions,
    ),
    Step(
        name="occurrences",
        unit="documents",
        at="work",
        aside=True,
        temporary=True,
        reads=(extract.STEP, "verdicts", decontaminate.NGRAMS),
        inputs=decontaminate.counts_before,
        plan=decontaminate.plan_occurrences,
        run=decontaminate.run_occurrences,
    ),
    Step(
        name=decontaminate.STEP,
        unit="documents",
        at="decisions",
        aside=True,
        reads=(extract.STEP, "verdicts", decontaminate.NGRAMS),
        inputs=decontaminate.counts_before,
        plan=decontaminate.plan,
        run=decontaminate.run,
        versions=decontaminate.versions,
        forget=redact.decontaminate,
    ),
    Step(
        name=SHARD,
        unit="documents",
        at="decisions",
        reads=(links.STEP, extract.STEP, score.STEP, "verdicts"),
        inputs=decontaminate.of_increment,
        plan=shards.plan,
        run=shards.run,
        forget=redact.shard,
    ),
]

BY_NAME = {step.name: step for step in STEPS}

LINKS = [BY_NAME[name] for name in (posts.STEP, repeats.STEP, links.STEP)]
"""From dumps to links."""

DECONTAMINATE = [BY_NAME[name] for name in (decontaminate.NGRAMS, "occurrences", decontaminate.STEP)]
"""Done only where the recipe names evaluation sets."""

DUMPS = "dumps"
"""Where `--until` can stop before the first step: the dumps are noted, and workers can read them."""
UNTIL = [*(step.name for step in STEPS if step.at == "facts" and not step.aside), SHARD]
"""Where `--until` can stop: at a step of the facts, or at the end. `corpus add --help` spells them out."""


def until(name: str) -> list[str]:
    """The steps up to one of UNTIL, none for DUMPS; raises UsageError for another name."""
    if name == DUMPS:
        return []
    if name not in UNTIL:
        raise UsageError(f"--until {name}: is no step; give one of {', '.join([DUMPS, *UNTIL])}")
    return UNTIL[: UNTIL.index(name) + 1]
