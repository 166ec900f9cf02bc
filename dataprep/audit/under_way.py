"""The work on a corpus or pack at this moment, from files alone: open steps, failures, and who works on them.

It reads what workers write while they work (`store/workers.py`); `status.py` counts what is finished. Nothing
is locked, and files may come and go meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dataprep.audit.gc import VERIFY
from dataprep.audit.status import CrawlLeft, crawl_left, next_step
from dataprep.corpus.directory import JOBS, Corpus, Facts, Increment
from dataprep.crawl import hop_plan
from dataprep.crawl.hop_plan import HopPlan
from dataprep.errors import DataError
from dataprep.pack import join
from dataprep.pack.manifest import latest_generation
from dataprep.pack.packing import Packing
from dataprep.shards import text_shards
from dataprep.steps import BY_NAME, STEPS
from dataprep.store.checksummed_json import load
from dataprep.store.claims import Claims, Failure
from dataprep.store.step import Part, Plan
from dataprep.store.workers import SILENT_S, Worker, all_workers, heartbeat_age_s, new_worker

OF_LATE_S = 600.0
"""A rate is the mean over this time: parts take minutes."""

State = Literal["at work", "silent", "ended"]


@dataclass(frozen=True, kw_only=True)
class IncrementWork:
    """An increment. whole: its finished steps. begun: finished parts of unfinished steps without a plan.

    crawl: what is left of the hop that is being crawled.
    """

    increment: str
    whole: list[str]
    begun: dict[str, int]
    closed: bool
    built: bool
    crawl: CrawlLeft | None = None


@dataclass(frozen=True, kw_only=True)
class FailedPart:
    """A part that has failed and is not made: how its last try ended."""

    part: str
    tries: int
    given_up: bool
    last: Failure


@dataclass(frozen=True, kw_only=True)
class OpenStep:
    """A step that has a plan and is not whole. place: where its folder stands, relative to the directory.

    size, size_done: in units, 0 where a plan does not tell them. per_s: units a second of late, or parts
    where units are unknown; None before the first. left_s: how long the rest takes at that pace.
    """

    step: str
    place: str
    unit: str
    parts: int
    done: int
    size: int
    size_done: int
    per_s: float | None
    left_s: float | None
    failed: list[FailedPart]


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker, and the age of its last heartbeat by this machine's clock.

    state: silent means that it has not noted an end, but others hold it dead.
    """

    worker: Worker
    age_s: float
    state: State


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """All that is under way in a corpus. next: the command to run next, in words for a person."""

    increments: list[IncrementWork]
    steps: list[OpenStep]
    workers: list[WorkerState]
    next: str

    @property
    def is_done(self) -> bool:
        """Whether every increment is in the current build."""
        return bool(self.increments) and all(increment.built for increment in self.increments)

    @property
    def given_up(self) -> list[FailedPart]:
        return [failed for step in self.steps for failed in step.failed if failed.given_up]


@dataclass(frozen=True, kw_only=True)
class PackUnderWay:
    """All that is under way in a directory of token shards.

    generation: the number of the newest one, 0 before the first. tokens: of its splits, by name. begun: the
    increments of the packs that are not finished.
    """

    generation: int
    tokens: dict[str, int]
    begun: list[str]
    steps: list[OpenStep]
    workers: list[WorkerState]

    @property
    def given_up(self) -> list[FailedPart]:
        return [failed for step in self.steps for failed in step.failed if failed.given_up]


def under_way(corpus: Corpus) -> UnderWay:
    """Look at the work on a corpus."""
    return UnderWay(
        increments=list(_increments(corpus)),
        steps=open_steps(corpus.root),
        workers=[state for state in worker_states(corpus.root) if state.worker.stage != join.STAGE],
        next=next_step(corpus),
    )


def pack_under_way(tokens: Path) -> PackUnderWay:
    """Look at the work on token shards."""
    last = latest_generation(tokens)
    packed = last.increments if last else {}
    begun = (name for packing in Packing.under_way(tokens) for name in packing.increments)
    return PackUnderWay(
        generation=last.number if last else 0,
        tokens={name: split.tokens for name, split in last.splits.items()} if last else {},
        begun=sorted({*begun} - packed.keys()),
        steps=open_steps(tokens),
        workers=list(worker_states(tokens)),
    )


def open_steps(root: Path) -> list[OpenStep]:
    """The steps that are open in a corpus, or in a directory of token shards or evaluations."""
    plans = sorted((root / JOBS).glob("**/*.plan.json"))
    return [step for path in plans if (step := _open_step(root, path) or _open_hop(root, path))]


def _increments(corpus: Corpus) -> Iterator[IncrementWork]:
    build = corpus.build
    facts = [step for step in STEPS if step.at == "facts" and not step.aside]
    for increment in corpus.increments():
        scope = Facts(corpus, increment)
        whole = [step.name for step in facts if increment.closed or step.is_whole(scope)]
        unplanned = (step.name for step in facts if not step.plan and step.name not in whole)
        begun = {name: parts for name in unplanned if (parts := _records(increment, name))}
        built = build is not None and text_shards.complete(build, increment)
        yield IncrementWork(
            increment=increment.path.name,
            whole=whole,
            begun=begun,
            closed=increment.closed,
            built=built,
            crawl=_crawl_left(corpus, increment),
        )


def _crawl_left(corpus: Corpus, increment: Increment) -> CrawlLeft | None:
    with suppress(DataError, FileNotFoundError):  # the hop has just ended
        return crawl_left(corpus, increment)
    return None


def _records(increment: Increment, step: str) -> int:
    return len(list((increment.path / step).glob("*.json")))


def _open_hop(root: Path, path: Path) -> OpenStep | None:
    """The hop of a crawl, by its plan; None when it is done."""
    with suppress(DataError):
        plan, increment = load(path, HopPlan), root / path.parent.relative_to(root / JOBS).parent
        parts = [Part(name=each.name, size=each.links) for each in plan.partitions]
        unit = BY_NAME[hop_plan.STEP].unit
        found = _open(root, path, plan.hop, unit, parts, increment / hop_plan.STEP)
        if found.done < found.parts:
            return replace(found, step=hop_plan.STEP, place=str(increment.relative_to(root)))
    return None


def _open_step(root: Path, path: Path) -> OpenStep | None:
    """The step of a plan; None when it has just become whole."""
    with suppress(DataError):
        plan = load(path, Plan)
        place = path.parent.relative_to(root / JOBS)
        records = (path.parent if place.parts[0] == VERIFY else root / place) / plan.step
        return _open(root, path, plan.step, plan.unit, plan.parts, records)
    return None


def _open(root: Path, path: Path, step: str, unit: str, parts: Sequence[Part], records: Path) -> OpenStep:
    """A plan at `path` whose parts are claimed as those of `step`, and have their records in a folder."""
    began, made = path.stat().st_mtime if path.exists() else 0.0, dict(_made(records))
    done = [part for part in parts if part.name in made]
    counted = any(part.size for part in parts)
    size, size_done = (sum(part.size for part in those) for those in (parts, done))
    now = time.time()
    since = max(began, now - OF_LATE_S)
    late = [part for part in done if made[part.name] >= since]
    per_s = sum(part.size if counted else 1 for part in late) / max(now - since, 1.0) or None
    left = size - size_done if counted else len(parts) - len(done)
    return OpenStep(
        step=step,
        place=str(path.parent.relative_to(root / JOBS)),
        unit=unit,
        parts=len(parts),
        done=len(done),
        size=size,
        size_done=size_done,
        per_s=per_s,
        left_s=left / per_s if per_s else None,
        failed=list(_failed(path.parent, step, made)),
    )


def _made(directory: Path) -> Iterator[tuple[str, float]]:
    """The parts that have a record, and when it was written."""
    for record in directory.glob("[!.]*.json"):
        with suppress(FileNotFoundError):
            yield record.stem, record.stat().st_mtime


def _failed(folder: Path, step: str, made: Collection[str]) -> Iterator[FailedPart]:
    """The parts of a step whose tries failed and that nobody has made since."""
    for part, tries in sorted(Claims(folder, step, new_worker("status", 0)).tries().items()):
        if (failures := tries.counted) and part not in made:
            given_up = tries.is_given_up
            yield FailedPart(part=part, tries=len(failures), given_up=given_up, last=failures[-1])


def worker_states(root: Path) -> Iterator[WorkerState]:
    """The workers of a directory whose files can be read."""
    for worker in all_workers(root):
        with suppress(FileNotFoundError):  # `gc` has removed it
            age_s = heartbeat_age_s(root, worker)
            state: State = "ended" if worker.ended else "silent" if age_s > SILENT_S else "at work"
            yield WorkerState(worker=worker, age_s=age_s, state=state)
