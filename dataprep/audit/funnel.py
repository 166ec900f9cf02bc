"""The funnel of a corpus: what entered each stage, what passed, and the reason for every loss."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.corpus.tombstones import REASON
from dataprep.crawl import rounds
from dataprep.decontaminate import stage as decontaminate
from dataprep.imports.inputs import kind_of
from dataprep.selection import thresholds
from dataprep.selection.verdicts import REPEAT_REASONS
from dataprep.store import files
from dataprep.store.files import read_table
from dataprep.store.records import Record


@dataclass(frozen=True)
class StageCount:
    """Counts of one stage over all increments; `entered == passed + sum(reasons.values())`."""

    stage: str
    unit: str
    entered: int
    passed: int
    reasons: dict[str, int] = field(default_factory=dict)


def funnel(directory: Path) -> list[StageCount]:
    """The stages of a corpus in order, over all increments; the decisions are the current build's."""
    corpus = Corpus.open(directory)
    increments = corpus.increments()
    return [
        _sum("links", _entries(increments), _records(increments, "links")),
        _fetched(corpus, increments),
        _sum("extract", "pages", _records(increments, "documents")),
        *decisions(corpus.current_build() if corpus.has_build else None),
    ]


def decisions(build: Build | None) -> list[StageCount]:
    """The stages of a build over all increments that it covers; of none, empty ones."""
    verdicts = build.records("verdicts") if build else []
    cleaned = build.records(decontaminate.STEP) if build else []
    chosen = _sum("select", "documents", verdicts, thresholds.REASONS)
    unrepeated = _sum("dedup", "documents", verdicts, REPEAT_REASONS, entered=chosen.passed)
    left = _sum("forget", "documents", verdicts, [REASON], entered=unrepeated.passed)
    return [
        chosen,
        unrepeated,
        *([left] if left.reasons else []),
        *([_sum("decontaminate", "documents", cleaned)] if cleaned else []),
    ]


def keep_beside(tokens: Path, generation: int, stages: list[StageCount]) -> None:
    """Write the funnel of what a generation was packed from as `funnel-N.json`, beside its manifest.

    It is no part of the generation: training shows it, and nothing depends on it.
    """
    content = json.dumps([asdict(stage) for stage in stages], indent=1)
    files.write_once(tokens / f"funnel-{generation}.json", content.encode())


def top_sites(directory: Path, number: int) -> list[tuple[str, int]]:
    """The sites with the most kept documents of the current build, and how many; none without a build."""
    corpus = Corpus.open(directory)
    if not corpus.has_build:
        return []
    counts: Counter[str] = Counter()
    for increment, verdicts in judged(corpus, corpus.current_build()):
        sites = read_table(
            corpus.root, [o for r in increment.records("documents") for o in r.outputs], ["doc_id", "site"]
        )
        site_of = dict(zip(sites["doc_id"].to_pylist(), sites["site"].to_pylist(), strict=True))
        table = read_table(corpus.root, verdicts.outputs[:1], ["doc_id", "verdict"])
        for doc_id, verdict in zip(table["doc_id"].to_pylist(), table["verdict"].to_pylist(), strict=True):
            if verdict == thresholds.KEPT:
                counts[site_of[doc_id]] += 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]


def judged(corpus: Corpus, build: Build) -> list[tuple[Increment, Record]]:
    """The increments that a build covers, each with the record of its verdicts."""
    records = {record.part: record for record in build.records("verdicts")}
    return [
        (increment, records[part])
        for increment in corpus.increments()
        if (part := f"{increment.number:04d}") in records
    ]


def _records(increments: Iterable[Increment], stage: str) -> list[Record]:
    return [record for increment in increments for record in increment.records(stage)]


def _entries(increments: Iterable[Increment]) -> str:
    """What links are made of: submissions of dumps, captures of an archive, or both."""
    archived = {kind_of(increment) == "warc" for increment in increments if increment.records("links")}
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
    return StageCount("fetch", "URLs", passed + ended.total(), passed, dict(ended.most_common()))
