"""The plan of a hop: which links make up which partition, on disk before anything is asked.

    jobs/increments/0001-2013-08/fetch/round-000-1.plan.json   the list of partitions, written once
    .../round-000-1-00000-HASH.parquet                         the links of one
    .../round-000-1-00000-stored-HASH.parquet                  pages of its sites that the increment has

`partitioning.py` makes it. How long the crawl of a plan takes is estimated from its sizes.
"""

from __future__ import annotations

from dataclasses import replace as replaced
from itertools import takewhile
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from dataprep.corpus.directory import JOBS, Increment
from dataprep.crawl.estimate import ANSWER_S, Estimate, LastSite, Sizes, estimate
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import SCHEMA
from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import Output, hash_file, read_table, replace
from dataprep.store.npy import loaded
from dataprep.store.records import step_path

STEP = "fetch"
ASSUMED = "assumed.json"
BUDGET = "budget.json"
REMEDY = "remove it and run the same command again, which plans anew"

TARGETS = pa.schema(
    [
        ("url", pa.string()),
        ("url_key", pa.binary(16)),
        ("site", pa.string()),
        ("first_seen", pa.int64()),
        ("original", pa.string()),
        ("live", pa.struct(list(SCHEMA))),
    ]
)
"""A Target as a row; live: how the live site answered, where an archive is asked after it. A row without a
URL was forgotten."""


class Partition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One partition of a plan.

    links: its rows with a URL when it was planned; sites: how many these are of. after: the partition that
    must be done before this one begins; it holds links of the same site. targets: its rows (TARGETS), by site
    and url_key. stored: pages of its sites that the increment has already, and that came with a validator
    (SCHEMA).
    """

    name: str
    links: int
    sites: int
    after: str = ""
    targets: Output
    stored: Output | None = None


class HopPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The partitions of a hop, in the order in which they begin.

    inputs: what the links are made from, name -> hash. archive: the archive that is asked, if it is one.
    sizes: (sites of all partitions,) the links of each site, partition by partition, the most first.
    """

    hop: str
    inputs: dict[str, str]
    archive: str = ""
    partitions: list[Partition] = []
    sizes: Output

    def later(self, partition: Partition) -> int:
        """The links of a partition's one site that are in the partitions after it."""
        following = self.partitions[self.partitions.index(partition) + 1 :]
        return sum(each.links for each in takewhile(lambda each: bool(each.after), following))


def folder(increment: Increment) -> Path:
    """Where the plans of an increment's hops stand."""
    return increment.path.parents[1] / JOBS / "increments" / increment.path.name / STEP


def plan_path(increment: Increment, hop: str) -> Path:
    """Where the plan of a hop stands."""
    return folder(increment) / f"{hop}.plan.json"


def record_path(increment: Increment, partition: str) -> Path:
    """Where the record of a partition stands when it is done."""
    return increment.path / STEP / f"{partition}.json"


def is_open(increment: Increment) -> bool:
    """Whether the crawl of an increment may go on, so that its plans are needed."""
    return not (increment.closed or step_path(increment.path, STEP).exists())


def find(increment: Increment, hop: str) -> HopPlan | None:
    """The plan of a hop, None where there is none yet."""
    path = plan_path(increment, hop)
    return load(path, HopPlan, REMEDY) if path.exists() else None


def standing(increment: Increment) -> list[HopPlan]:
    """The plans of the hops that were begun, in order."""
    paths = sorted(folder(increment).glob("*.plan.json"))
    return [load(path, HopPlan, REMEDY) for path in paths]


def open_plan(increment: Increment) -> HopPlan | None:
    """The plan of the hop that is being crawled, None where there is none."""
    plans = standing(increment) if is_open(increment) else []
    return next((plan for plan in plans if left(increment, plan)), None)


def unnamed(increment: Increment, root: Path) -> list[Path]:
    """Files that no plan names: a command was killed while it planned."""
    plans = standing(increment)
    outputs = [plan.sizes for plan in plans]
    outputs += [part.targets for plan in plans for part in plan.partitions]
    outputs += [part.stored for plan in plans for part in plan.partitions if part.stored]
    named = {root / output.path for output in outputs}
    named |= {folder(increment) / ASSUMED, *(plan_path(increment, plan.hop) for plan in plans)}
    named |= {folder(increment) / BUDGET}
    return [path for path in sorted(folder(increment).glob("*")) if path.is_file() and path not in named]


class Assumed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the crawl that was begun last assumes, or has measured, for estimates: as in `estimate`."""

    partitions: int
    lines: int
    delay_s: float
    answer_s: float = ANSWER_S
    hours: float | None = None


def assumed(increment: Increment) -> Assumed | None:
    """What the crawl that was begun last assumes, None where none was."""
    path = folder(increment) / ASSUMED
    return load(path, Assumed, "remove it") if path.exists() else None


def assume(increment: Increment, settings: CrawlSettings, answer_s: float | None = None) -> Assumed:
    """Keep what a crawl of these settings assumes. answer_s: what was measured, None where nothing was."""
    before = assumed(increment)
    content = Assumed(
        partitions=settings.partitions,
        lines=settings.concurrency,
        delay_s=settings.delay_s,
        answer_s=answer_s or (before.answer_s if before else ANSWER_S),
        hours=settings.hours,
    )
    replace(folder(increment) / ASSUMED, dump(content))
    return content


def left(increment: Increment, plan: HopPlan) -> list[Partition]:
    """The partitions that are not done."""
    return [each for each in plan.partitions if not record_path(increment, each.name).exists()]


def expected(root: Path, plan: HopPlan, open_ones: list[Partition], by: Assumed) -> Estimate:
    """What is expected of the crawl of some partitions. Memory: 40 bytes a site."""
    sizes = loaded(root / plan.sizes.path)
    counts = np.cumsum([0, *(partition.sites for partition in plan.partitions)])
    begin = {partition.name: count for partition, count in zip(plan.partitions, counts, strict=False)}
    groups, heads, before = list[Sizes](), list[Partition](), ""
    for partition in open_ones:
        links = sizes[begin[partition.name] :][: partition.sites].astype(np.int64)
        if before and partition.after == before:
            groups[-1] = groups[-1] + links
        else:
            groups.append(links)
            heads.append(partition)
        before = partition.name
    found = estimate(
        groups,
        partitions=by.partitions,
        lines=by.lines,
        delay_s=by.delay_s,
        answer_s=by.answer_s,
        hours=by.hours,
    )
    first = np.cumsum([0, *map(len, groups)])

    def named(site: LastSite) -> LastSite:
        group = int(np.searchsorted(first, site.place, side="right")) - 1
        row = int(groups[group][: site.place - first[group]].sum())
        return replaced(site, name=read(root, heads[group].targets)["site"][row].as_py())

    return replaced(found, last=tuple(map(named, found.last)))


def read(root: Path, output: Output) -> pa.Table:
    """Read a file of a plan; raises DataError when it is missing or was altered."""
    path = root / output.path
    if path.exists() and hash_file(path) != output.xxh3_128:
        raise DataError(
            f"{path}: was altered; remove the .plan.json of its hop and run the same command again, which "
            "plans anew"
        )
    return read_table(root, [output])
