"""`corpus forget`: write the tombstone, make what takes the place of every layer, then swap it in.

    tombstone -> replacements beside what stands -> swap -> the old are deleted -> done

Before the swap is written down nothing has changed, and a kill costs the work only; after that the next call
carries it out. Until then every other command refuses the corpus. Records and step files name the new files
and keep their origin, so that nothing that was made from them changes. Memory: the largest part of a step.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec
import pyarrow as pa

from dataprep import all_records
from dataprep.audit import gc
from dataprep.corpus import known_files
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.known_files import REPORT_FILES
from dataprep.corpus.tombstones import (
    FOLDER,
    SCHEMA,
    Forgotten,
    Tombstone,
    done_folder,
    done_path,
    tombstone_path,
    tombstones,
    unfinished,
)
from dataprep.errors import DataError
from dataprep.extract import stage as extract
from dataprep.forget import open_crawl
from dataprep.forget.scope import find_scope
from dataprep.forget.swap import Swap, carry_out
from dataprep.imports import warc
from dataprep.imports.inputs import kind_of
from dataprep.imports.stage import READERS
from dataprep.redact.records import Erasure
from dataprep.redact.scope import ForgetScope
from dataprep.store import root_manifest
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import Output, publish_table, read_table, write_once
from dataprep.store.pool import Tick
from dataprep.store.records import Record, commit, load_record, load_step, step_path, sum_up
from dataprep.text import minhash


@dataclass(frozen=True)
class ForgetPlan:
    """What a forget does once all is prepared, and the record that says that it is done."""

    swap: Swap
    record: Record


@dataclass(frozen=True, kw_only=True)
class Gone:
    """Notes of a tombstone that was carried out: links that went, and lists that a submission left."""

    links: int = 0
    lists: int = 0


def begin(corpus: Corpus, tombstone: Tombstone) -> None:
    """Write the tombstone of a thing that is to be forgotten, unless it is forgotten already.

    A crawl that was stopped loses it, too, and goes on without it. Raises DataError while an import is half
    read.
    """
    refuse_half_read(corpus)
    work = [path for place in ("builds/*", "increments") for path in corpus.root.glob(f"{place}/*/work")]
    for stopped in (*work, *gc.stopped_plans(corpus)):  # which is made again
        if stopped.is_dir():
            shutil.rmtree(stopped, ignore_errors=True)
        else:
            stopped.unlink(missing_ok=True)
    all_records.refuse_unknown_steps(corpus)
    all_records.refuse_losses(corpus)
    for increment in corpus.increments():
        if not step_path(increment.path, "links").exists():  # these are made again, too
            shutil.rmtree(increment.path / "links", ignore_errors=True)
    if stays_out(corpus, tombstone):
        return
    number = max(tombstones(corpus.root), default=0) + 1
    write_once(tombstone_path(corpus.root, number), dump(tombstone))
    known_files.remember(corpus.root)


def refuse_half_read(corpus: Corpus) -> None:
    """Raise DataError while an import is half read: the command that goes on would do so with what it has
    listed, and partitions have no numbers yet."""
    for increment in corpus.increments():
        if not increment.closed and _is_half_read(increment):
            raise DataError(
                f"{increment.path}: its files are being read; run its `outbound corpus import` to the end "
                f"first, or `outbound corpus drop {corpus.root} {increment.name}`"
            )


def _is_half_read(increment: Increment) -> bool:
    """Whether an import has read some of its files and not all."""
    if kind_of(increment) in READERS:
        return not step_path(increment.path, extract.STEP).exists()
    return bool(increment.records(warc.WORK))


def stays_out(corpus: Corpus, tombstone: Tombstone) -> bool:
    """Whether earlier tombstones say all that a new one says."""
    known = Forgotten.of(corpus.root)
    return (
        known.url_keys >= {bytes.fromhex(key) for key in tombstone.url_keys}
        and known.sites >= set(tombstone.sites)
        and known.submissions >= set(tombstone.submissions)
    )


def finish(corpus: Corpus, tick: Tick) -> Record | None:
    """Carry out the tombstone that is not done yet; None if there is none. `tick` counts records.

    The record counts the documents that went; its notes, the links, and those that a submission left.
    """
    number = unfinished(corpus.root)
    if number is None:
        return None
    path = _swap(corpus, number)
    if path.exists():
        plan = load(path, ForgetPlan)
    else:
        plan = _prepare(corpus, number, tick)
        write_once(path, dump(plan))
    root_manifest.release(corpus.root, plan.swap.deletes)
    carry_out(corpus.root, plan.swap)
    kept = {corpus.root / output.path for output in plan.record.outputs.values()}
    leftovers = gc.find(corpus, quiet_s=0)  # of killed commands: they may hold what is forgotten
    gc.remove(corpus, [garbage for garbage in leftovers if garbage.path not in kept])
    record = commit(done_path(corpus.root, number), plan.record)
    known_files.remember(corpus.root)
    path.unlink()
    return record


def _swap(corpus: Corpus, number: int) -> Path:
    """Where the swap of a forget is written down."""
    return corpus.root / FOLDER / f"{number:04d}.swap"


def take_back(corpus: Corpus, numbers: list[int]) -> None:
    """Remove tombstones that were carried out, so that what they name may come in.

    Raises DataError, and removes none, when anything of them was in the corpus: that cannot be brought back.
    """
    records = {number: load_record(done_path(corpus.root, number)) for number in numbers}
    for number, record in records.items():
        gone = record.noted(Gone)
        if record.passed or gone.links or gone.lists:
            raise DataError(
                f"{tombstone_path(corpus.root, number)}: {gone.links:,} links and {record.passed:,} "
                f"documents went, and {gone.lists:,} links lost a submission; none of that can be brought "
                "back, so the tombstone stays"
            )
    paths = [path(corpus.root, number) for number in numbers for path in (done_path, tombstone_path)]
    root_manifest.release(corpus.root, [str(path.relative_to(corpus.root)) for path in paths])
    for number, record in records.items():
        remembered = [corpus.root / output.path for output in record.outputs.values()]
        # The record first: after a kill the tombstone is carried out once more, and the same call goes on.
        for path in (done_path(corpus.root, number), _swap(corpus, number), *remembered):
            path.unlink(missing_ok=True)
        tombstone_path(corpus.root, number).unlink()


def _prepare(corpus: Corpus, number: int, tick: Tick) -> ForgetPlan:
    """Publish what takes the place of every file that changes, and say how it is swapped in."""
    found = find_scope(corpus, tombstones(corpus.root)[number])
    erasure = Erasure(corpus.root, found)
    swap = Swap(erasure.renames, deletes=[name for name in REPORT_FILES if (corpus.root / name).exists()])
    changed: dict[Path, dict[str, Record]] = {}
    for step, path, before in all_records.records(corpus):
        after = step.forget(erasure, path, before) if step and step.forget else before
        tick(1)
        if after == before:
            continue
        swap.contents[str(path.relative_to(corpus.root))] = dump(after).decode()
        swap.deletes += [
            old.path
            for name, old in before.outputs.items()
            if name not in after.outputs or after.outputs[name].path != old.path
        ]
        changed.setdefault(step_path(path.parent.parent, path.parent.name), {})[after.part] = after
    for path, records in changed.items():
        if path.exists():  # else the step is under way
            swap.contents[str(path.relative_to(corpus.root))] = _summed_up(path, records).decode()
    for increment in corpus.increments():
        if not increment.closed:
            renames, useless = open_crawl.without(increment, corpus.root, found)
            swap.renames |= renames
            swap.deletes += useless
    record = Record(
        step="forgotten",
        part=f"{number:04d}",
        outputs={"documents": _remember(corpus, number, found)},
        entered=len(found.documents),
        passed=len(found.documents),
        versions={"minhash": str(minhash.VERSION)},
        notes=msgspec.to_builtins(Gone(links=found.links, lists=len(found.relisted))),
    )
    return ForgetPlan(swap, record)


def _summed_up(path: Path, changed: dict[str, Record]) -> bytes:
    """A step file with other records for some of its parts; it keeps its origin, by which others name it."""
    whole = load_step(path)
    parts = [changed.get(part.part, part) for part in whole.parts]
    return sum_up(whole.step, whole.inputs, whole.versions, parts, origin=whole.origin)


def _remember(corpus: Corpus, number: int, found: ForgetScope) -> Output:
    """What stays of the documents: their places and the hashes of their shingles."""
    rows = []
    tables = {
        (increment.number, part): documents
        for increment in corpus.increments()
        for part, documents in extract.numbered(increment)
    }
    for (increment, part), places in groupby(found.documents, lambda item: item[1][:2]):
        texts = read_table(corpus.root, [tables[increment, part]], ["text"])["text"]
        for doc_id, (*_, row) in places:
            hashes = minhash.shingles(texts[row].as_py())
            rows.append((doc_id, increment, part, row, hashes))
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in SCHEMA]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    return publish_table(corpus.root, done_folder(corpus.root), f"{number:04d}", table)
