"""The funnel of a corpus: what entered each stage, what passed, and the reason for every loss."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dataprep.corpus.directory import Build, Corpus, Decisions, Increment
from dataprep.corpus.tombstones import REASON
from dataprep.crawl import rounds
from dataprep.decontaminate import stage as decontaminate
from dataprep.imports.inputs import kind_of
from dataprep.pack.manifest import remember
from dataprep.selection import kept, thresholds
from dataprep.selection.verdicts import REPEAT_REASONS
from dataprep.steps import BY_NAME
from dataprep.store import files
from dataprep.store.files import read_table
from dataprep.store.records import Record


@dataclass(frozen=True)
class StageCount:
    """Counts of one stage over all increments; `entered == passed + sum(reasons.values())`.

    truncated: how many of those that passed an archive had cut off.
    """

    stage: str
    unit: str
    entered: int
    passed: int
    reasons: dict[str, int] = field(default_factory=dict)
    truncated: int = 0


def funnel(directory: Path, build: Build | None = None) -> list[StageCount]:
    """The steps of a corpus that take documents or links away, in order, over all increments.

    The decisions are those of a build, by default of the current one.
    """
    corpus = Corpus.open(directory)
    increments = corpus.increments()
    links, extracted = (_parts(increments, step) for step in ("links", "extract"))
    return [
        _sum("links", _entries(increments), links),
        _fetched(corpus, increments),
        _sum("extract", BY_NAME["extract"].unit, extracted),
        *decisions(build or corpus.build),
    ]


def decisions(build: Build | None) -> list[StageCount]:
    """The steps of a build over all increments that it covers; of none, empty ones.

    The verdicts are counted by who decided: the thresholds (`select`), repetition (`dedup`), and `forget`.
    """
    verdicts = build.parts("verdicts") if build else []
    cleaned = build.parts(decontaminate.STEP) if build else []
    unit = BY_NAME["verdicts"].unit
    chosen = _sum("select", unit, verdicts, thresholds.REASONS)
    unrepeated = _sum("dedup", unit, verdicts, REPEAT_REASONS, entered=chosen.passed)
    left = _sum("forget", unit, verdicts, [REASON], entered=unrepeated.passed)
    return [
        chosen,
        unrepeated,
        *([left] if left.reasons else []),
        *([_sum(decontaminate.STEP, unit, cleaned)] if cleaned else []),
    ]


def funnel_path(tokens: Path, generation: int) -> Path:
    """Where the funnel of a generation stands."""
    return tokens / f"funnel-{generation}.json"


def save_funnel(tokens: Path, generation: int, stages: list[StageCount]) -> None:
    """Write the funnel of what a generation was packed from as `funnel-N.json`, beside its manifest.

    It is no part of the generation: training shows it, and nothing depends on it.
    """
    content = json.dumps([asdict(stage) for stage in stages], indent=1)
    files.write_once(funnel_path(tokens, generation), content.encode())
    remember(tokens)


def top_sites(directory: Path, number: int, build: Build | None = None) -> list[tuple[str, int]]:
    """The sites with the most kept documents of a build (the current one), and how many; none without one."""
    corpus = Corpus.open(directory)
    counts: Counter[str] = Counter()
    for scope in judged(corpus, build or corpus.build):
        sites = read_table(corpus.root, scope.increment.outputs("extract", "documents"), ["doc_id", "site"])
        site_of = dict(zip(sites["doc_id"].to_pylist(), sites["site"].to_pylist(), strict=True))
        table = read_table(corpus.root, kept.verdicts_of(scope), ["doc_id", "verdict"])
        for doc_id, verdict in zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True):
            if verdict == thresholds.KEPT:
                counts[site_of[doc_id]] += 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]


def judged(corpus: Corpus, build: Build | None) -> list[Decisions]:
    """The increments on which a build has verdicts; none without a build."""
    if not build:
        return []
    scopes = [Decisions(corpus, build, increment) for increment in corpus.increments()]
    return [scope for scope in scopes if build.has("verdicts", scope.increment)]


def _parts(increments: Iterable[Increment], step: str) -> list[Record]:
    return [part for increment in increments for part in increment.parts(step)]


def _entries(increments: Iterable[Increment]) -> str:
    """What links are made of: submissions of dumps, captures of an archive, or both."""
    linked = [increment for increment in increments if increment.outputs("links", "links")]
    archived = {kind_of(increment) == "warc" for increment in linked}
    if archived == {True}:
        return "captures"
    return "submissions and captures" if True in archived else "submissions"


def _sum(
    stage: str,
    unit: str,
    records: list[Record],
    only: Iterable[str] | None = None,
    entered: int | None = None,
) -> StageCount:
    """Add up records; with `only`, the reasons of one step among several that share the records."""
    reasons = sum((Counter(record.reasons) for record in records), Counter[str]())
    if only is not None:
        reasons = Counter({reason: reasons[reason] for reason in only if reasons[reason]})
    if entered is None:
        entered = sum(record.entered for record in records)
    return StageCount(stage, unit, entered, entered - reasons.total(), dict(reasons.most_common()))


def _fetched(corpus: Corpus, increments: list[Increment]) -> StageCount:
    """Fetching may take several rounds and increments; a link counts once, by how it ended."""
    ended = rounds.outcomes(corpus, increments)
    passed = ended.pop("ok", 0)
    entered, cut = passed + ended.total(), rounds.truncated(corpus, increments)
    return StageCount("fetch", "URLs", entered, passed, dict(ended.most_common()), cut)
