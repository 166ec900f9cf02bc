"""How the plan of a hop is made: its links are grouped by site, and cut into partitions.

A partition holds whole sites, those with the most links in the first. A site of more than PART_LINKS links
has partitions of its own, each of which begins when the one before it is done. So a site is asked by one
partition at a time, and a partition is crawled without a look at the others. A plan is a function of
committed files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl.hop_plan import REMEDY, STEP, TARGETS, HopPlan, Partition, find, folder, plan_path, read
from dataprep.crawl.targets import SCHEMA
from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.external_sort import SortedSpill, ranges
from dataprep.store.files import Output, publish_array, publish_table, read_table, write_once
from dataprep.store.npy import fixed_width
from dataprep.store.records import Record

PART_LINKS = 50_000
"""Links of a partition, at most."""

_GATHERED = pa.schema([("number", pa.uint64()), ("site_number", pa.uint64()), *TARGETS])
_PLACED = pa.schema([("number", pa.uint64()), ("place", pa.uint64()), *TARGETS])
_STORED = pa.schema([("number", pa.uint64()), ("place", pa.uint64()), *SCHEMA])

Numbers = npt.NDArray[np.uint64]


def make(
    corpus: Corpus,
    increment: Increment,
    hop: str,
    targets: Iterator[pa.Table],
    *,
    inputs: dict[str, str],
    archive: str = "",
) -> HopPlan:
    """Plan a hop, unless its plan stands. targets: its links, as tables of TARGETS.

    Memory: a run of the external sort, a range of its keys or a partition, and 40 bytes a site. Disk,
    meanwhile: about twice the links.

    Raises DataError when the plan that stands is of other inputs, or does not know partitions that are done.
    """
    if plan := find(increment, hop):
        if plan.inputs != inputs:
            raise DataError(f"{plan_path(increment, hop)}: was made from other inputs; {REMEDY}")
        return plan
    with _Planning(corpus, increment, hop) as planning:
        for table in targets:
            planning.add(table)
        partitions, sizes = planning.partitions()
    plan = HopPlan(hop=hop, inputs=inputs, archive=archive, partitions=partitions, sizes=sizes)
    done = [record for record in increment.records(STEP) if record.part.startswith(f"{hop}-")]
    _refuse_strangers(corpus, increment, plan, done)
    write_once(plan_path(increment, hop), dump(plan))
    return load(plan_path(increment, hop), HopPlan, REMEDY)


def pack(links: Sequence[int], rows: Sequence[int], limit: int) -> tuple[list[int], int]:
    """The first partition of each site, and how many partitions there are.

    links: of each site, the most first. rows: what a site adds to the size of its partition.

    >>> pack([120, 60, 40, 30, 5], [120, 60, 40, 30, 5], 50)
    ([0, 3, 5, 6, 6], 7)
    """
    first, part, filled = list[int](), 0, 0
    for number, size in zip(links, rows, strict=True):
        if filled and filled + size > limit:
            part, filled = part + 1, 0
        first.append(part)
        if number > limit:
            part += -(-number // limit)
        else:
            filled += size
    return first, part + bool(filled)


class _Planning:
    """The links of a hop on their way into partitions."""

    def __init__(self, corpus: Corpus, increment: Increment, hop: str) -> None:
        self._root = corpus.root
        self._hop = hop
        self._folder = folder(increment)
        earlier = [record for record in increment.parts(STEP) if record.part < hop]
        self._fetched = [record.outputs["fetches"] for record in earlier]
        self._sites = _Counts()
        self._gathered = SortedSpill(self._folder, _GATHERED)
        self._placed = SortedSpill(self._folder, _PLACED)
        self._stored = SortedSpill(self._folder, _STORED)

    def __enter__(self) -> _Planning:
        return self

    def __exit__(self, *error: object) -> None:
        for spill in (self._gathered, self._placed, self._stored):
            spill.__exit__(None, None, None)

    def add(self, table: pa.Table) -> None:
        """Take links; those that were forgotten are of no site."""
        sites = site_numbers(table["site"])
        self._sites.add(sites[pc.not_equal(table["url"], "").to_numpy()])
        columns = [pa.array(key_numbers(table["url_key"])), pa.array(sites), *table.select(TARGETS.names)]
        self._gathered.add(pa.Table.from_arrays(columns, schema=_GATHERED))

    def partitions(self) -> tuple[list[Partition], Output]:
        """Write the files of the partitions, and the sizes of all sites."""
        sites = self._sites.counts()
        order = np.lexsort((sites.numbers, -sites.rows))
        links = sites.rows[order]
        stored = _Counts()
        for _, numbers in self._pages(sites.numbers):
            stored.add(numbers)
        rows = links + stored.counts().of(sites.numbers[order])
        first, number = pack(links.tolist(), rows.tolist(), PART_LINKS)
        giants = int((links > PART_LINKS).sum())
        slices = {
            first[giant] + later
            for giant in range(giants)
            for later in range(1, -(-links[giant] // PART_LINKS))
        }
        place = np.empty(len(order), np.uint64)
        place[order] = np.arange(len(order), dtype=np.uint64)
        self._place(sites.numbers, place, np.array([*first, 0], np.uint64), giants)
        self._place_pages(sites.numbers, np.array(first, np.uint64)[place])
        made, sizes = list[Partition](), [np.empty(0, np.uint32)]
        for part in range(max(number, bool(self._gathered.rows))):
            partition, links_of_sites = self._write(part, made[-1] if part in slices else None)
            made.append(partition)
            sizes.append(links_of_sites.astype(np.uint32))
        return made, publish_array(self._root, self._folder, f"{self._hop}-sizes", np.concatenate(sizes))

    def _place(self, sites: Numbers, place: Numbers, first: Numbers, giants: int) -> None:
        """Give every link its partition; those of giants follow each other by url_key.

        place: of each of `sites`, when the most links come first. first: of each place, the first partition;
        its last is for what was forgotten.
        """
        met = np.zeros(giants, np.uint64)
        for low, high in ranges(self._gathered.rows // PART_LINKS + 1):
            table = self._gathered.read(low, high).sort_by("url_key")
            known = pc.not_equal(table["url"], "").to_numpy()
            at = np.full(table.num_rows, len(first) - 1, np.uint64)
            at[known] = place[np.searchsorted(sites, table["site_number"].to_numpy()[known])]
            parts = first[at]
            for giant in np.unique(at[at < giants]):
                (rows,) = np.nonzero(at == giant)
                parts[rows] += (met[giant] + np.arange(len(rows), dtype=np.uint64)) // np.uint64(PART_LINKS)
                met[giant] += np.uint64(len(rows))
            columns = [pa.array(parts), pa.array(at), *table.select(TARGETS.names)]
            self._placed.add(pa.Table.from_arrays(columns, schema=_PLACED))

    def _pages(self, sites: Numbers) -> Iterator[tuple[pa.Table, Numbers]]:
        """The pages of some sites that are stored with a validator, and the numbers of their sites."""
        with_validator = (pc.field("etag") > "") | (pc.field("last_modified") > "")
        for output in self._fetched:
            table = read_table(
                self._root, [output], SCHEMA.names, (pc.field("outcome") == "ok") & with_validator
            )
            numbers = site_numbers(table["site"])
            wanted = np.isin(numbers, sites)
            yield table.filter(pa.array(wanted)), numbers[wanted]

    def _place_pages(self, sites: Numbers, first: Numbers) -> None:
        """Give every stored page its partition. first: of each of `sites`, the first partition."""
        for table, numbers in self._pages(sites):
            parts = first[np.searchsorted(sites, numbers)]
            at = self._stored.rows + np.arange(len(parts), dtype=np.uint64)
            columns = [pa.array(parts), pa.array(at), *table.select(SCHEMA.names)]
            self._stored.add(pa.Table.from_arrays(columns, schema=_STORED))

    def _write(self, part: int, before: Partition | None) -> tuple[Partition, npt.NDArray[Any]]:
        """Write the files of a partition. before: that with the links of the same site that come first."""
        name = f"{self._hop}-{part:05d}"
        table = self._placed.read(part, part + 1).sort_by([("place", "ascending"), ("url_key", "ascending")])
        known = table.filter(pc.field("url") != "")
        _, sizes = np.unique(known["place"].to_numpy(), return_counts=True)
        pages = self._stored.read(part, part + 1).sort_by("place")
        stored = before.stored if before else None
        if pages.num_rows:
            stored = publish_table(self._root, self._folder, f"{name}-stored", pages.select(SCHEMA.names))
        partition = Partition(
            name=name,
            links=known.num_rows,
            sites=len(sizes),
            after=before.name if before else "",
            targets=publish_table(self._root, self._folder, name, table.select(TARGETS.names)),
            stored=stored,
        )
        return partition, sizes


class _Counts:
    """How often each number was added. Memory: 16 bytes a number."""

    def __init__(self) -> None:
        self.numbers = np.empty(0, np.uint64)
        """(n,) sorted, when `counts` was called."""
        self.rows = np.empty(0, np.int64)
        """(n,) how often each came."""
        self._added = list[Numbers]()
        self._waiting = 0

    def add(self, numbers: Numbers) -> None:
        """Count some numbers."""
        self._added.append(numbers)
        self._waiting += len(numbers)
        if self._waiting > max(1 << 20, len(self.numbers)):
            self.counts()

    def counts(self) -> _Counts:
        """Sum up what was added; returns this object."""
        added = np.concatenate([self.numbers, *self._added])
        weights = np.concatenate([self.rows, np.ones(self._waiting, np.int64)])
        self.numbers, where = np.unique(added, return_inverse=True)
        self.rows = np.bincount(where, weights).astype(np.int64)
        self._added, self._waiting = [], 0
        return self

    def of(self, numbers: Numbers) -> npt.NDArray[np.int64]:
        """(n,) how often each of some numbers came."""
        at = np.searchsorted(self.numbers, numbers).clip(max=max(len(self.numbers) - 1, 0))
        found = np.zeros(len(numbers), np.int64)
        if len(self.numbers):
            there = self.numbers[at] == numbers
            found[there] = self.rows[at[there]]
        return found


def site_numbers(sites: pa.ChunkedArray) -> Numbers:
    """(n,) a number for each name of a site."""
    if not len(sites):  # of which there may be no chunk
        return np.empty(0, np.uint64)
    encoded = sites.combine_chunks().dictionary_encode()
    numbers = [xxhash.xxh3_64_intdigest(name.encode()) for name in encoded.dictionary.to_pylist()]
    found: Numbers = np.array(numbers, np.uint64)[encoded.indices.to_numpy()]
    return found


def key_numbers(keys: pa.ChunkedArray) -> Numbers:
    """(n,) the first eight bytes of each key, as a number."""
    return fixed_width(keys).view(">u8")[::2].astype(np.uint64)


def _refuse_strangers(corpus: Corpus, increment: Increment, plan: HopPlan, done: list[Record]) -> None:
    """Raise DataError when a partition that is done is not in the plan, or has other links there."""
    planned = {partition.name: partition for partition in plan.partitions}
    for record in done:
        there = read_table(corpus.root, [record.outputs["fetches"]], ["url_key"])["url_key"].to_pylist()
        partition = planned.get(record.part)
        if partition is None or {*there} != {*read(corpus.root, partition.targets)["url_key"].to_pylist()}:
            raise DataError(
                f"{plan_path(increment, plan.hop)}: was lost, and {record.part} was crawled by another plan; "
                f"restore it from a copy, or begin anew after `outbound corpus drop {corpus.root} "
                f"{increment.name}`"
            )
