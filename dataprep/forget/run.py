"""`corpus forget`: write the tombstone, make what takes the place of every layer, then swap it in.

    tombstone -> replacements beside what stands -> swap -> the old are deleted -> done

Before the swap is written down nothing has changed, and a kill costs the work only; after that the next call
carries it out. Until then every other command refuses the corpus. Replaced records name the new files, as
outputs and as inputs, so that every stage is done as it was. Memory: the largest partition of a stage.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from dataprep.corpus import all_records, gc
from dataprep.corpus.directory import DRAWN, Corpus
from dataprep.corpus.tombstones import (
    FOLDER,
    SCHEMA,
    Forgotten,
    Tombstone,
    done_path,
    tombstone_path,
    tombstones,
    unfinished,
)
from dataprep.errors import DataError
from dataprep.forget import open_crawl
from dataprep.forget.layers import LAYERS, Work
from dataprep.forget.scope import Scope, scope
from dataprep.forget.swap import Swap, carry_out
from dataprep.imports import warc
from dataprep.store.checksummed_json import sealed, unsealed
from dataprep.store.files import Output, publish_table, read_table, write_once
from dataprep.store.records import Record, commit
from dataprep.text import minhash


@dataclass(frozen=True)
class Plan:
    """What a forget does once all is prepared, and the record that says that it is done."""

    swap: Swap
    record: Record


def begin(corpus: Corpus, tombstone: Tombstone) -> None:
    """Write the tombstone of a thing that is to be forgotten, unless it is forgotten already.

    A crawl that was stopped loses it, too, and goes on without it. Raises DataError while files of an archive
    are being read: the command that goes on would do so with what it has listed.
    """
    for increment in corpus.increments():
        if not increment.closed and increment.records(warc.WORK):
            raise DataError(
                f"{increment.path}: its archive is being read; run its `outbound corpus import` to the end "
                f"first, or `outbound corpus drop {corpus.root} {increment.name}`"
            )
    for work in corpus.root.glob("builds/*/work"):  # of selections that were stopped; it is made again
        shutil.rmtree(work)
    _refuse_unknown_layers(corpus)
    if _stays_out(corpus, tombstone):
        return
    number = max(tombstones(corpus.root), default=0) + 1
    write_once(tombstone_path(corpus.root, number), sealed(tombstone))


def _stays_out(corpus: Corpus, tombstone: Tombstone) -> bool:
    """Whether earlier tombstones say all that a new one says."""
    known = Forgotten.of(corpus.root)
    return (
        known.url_keys >= {bytes.fromhex(key) for key in tombstone.url_keys}
        and known.sites >= set(tombstone.sites)
        and known.submissions >= set(tombstone.submissions)
    )


def finish(corpus: Corpus, tick: Callable[[int], None]) -> Record | None:
    """Carry out the tombstone that is not done yet; None if there is none. `tick` is told of records.

    The record counts the documents that went; its notes, the links, and those that a submission left.
    """
    number = unfinished(corpus.root)
    if number is None:
        return None
    path = corpus.root / FOLDER / f"{number:04d}.swap"
    if path.exists():
        plan = unsealed(path, Plan)
    else:
        plan = _prepare(corpus, number, tick)
        write_once(path, sealed(plan))
    carry_out(corpus.root, plan.swap)
    kept = {corpus.root / output.path for output in plan.record.outputs}
    leftovers = gc.find(corpus, quiet_s=0)  # of killed commands: they may hold what is forgotten
    gc.remove([each for each in leftovers if each.path not in kept])
    record = commit(done_path(corpus.root, number), plan.record)
    path.unlink()
    return record


def _prepare(corpus: Corpus, number: int, tick: Callable[[int], None]) -> Plan:
    """Publish what takes the place of every file that changes, and say how it is swapped in."""
    found = scope(corpus, tombstones(corpus.root)[number])
    work = Work(corpus, found)
    after, moved = dict[Path, Record](), dict[str, Output]()
    deletes = [name for name in DRAWN if (corpus.root / name).exists()]
    for path, record in all_records.records(corpus):
        after[path] = LAYERS[path.parent.name](work, path, record)
        if after[path].outputs:
            pairs = zip(record.outputs, after[path].outputs, strict=True)
            moved |= {old.path: new for old, new in pairs if new != old}
        else:  # a shard of which nothing is left
            deletes += [output.path for output in record.outputs]
        tick(1)
    for increment in corpus.increments():
        if not increment.closed:
            renames, useless = open_crawl.without(increment, corpus.root, found)
            work.renames |= renames
            deletes += useless
    swap = Swap(work.renames, deletes=deletes)
    for path, record in all_records.records(corpus):
        changed = replace(after[path], inputs=_followed(record.inputs, moved))
        if changed != record:
            swap.contents[str(path.relative_to(corpus.root))] = sealed(changed).decode()
    swap.deletes += [old for old, new in moved.items() if new.path != old]
    memory = _remember(corpus, number, found)
    gone, notes = len(found.documents), {"links": found.links, "lists": len(found.relisted)}
    versions = {"minhash": str(minhash.VERSION)}
    record = Record("forgotten", f"{number:04d}", {}, [memory], gone, gone, {}, versions, notes)
    return Plan(swap, record)


def _followed(inputs: dict[str, str], moved: dict[str, Output]) -> dict[str, str]:
    """Inputs by the names and hashes of the files that take their place."""
    return {
        moved[name].path if name in moved else name: moved[name].xxh3_128 if name in moved else digest
        for name, digest in inputs.items()
    }


def _remember(corpus: Corpus, number: int, found: Scope) -> Output:
    """What stays of the documents: their places and the hashes of their shingles."""
    rows = []
    increments = {increment.number: increment for increment in corpus.increments()}
    for (increment, part), places in groupby(found.documents, lambda item: item[1][:2]):
        record = increments[increment].records("documents")[part]
        texts = read_table(corpus.root, record.outputs[:1], ["text"])["text"]
        for doc_id, (*_, row) in places:
            hashes = minhash.shingles(texts[row].as_py())
            rows.append((doc_id, increment, part, row, hashes))
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in SCHEMA]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    return publish_table(corpus.root, corpus.root / FOLDER / "done", f"{number:04d}", table)


def _refuse_unknown_layers(corpus: Corpus) -> None:
    for path in all_records.record_paths(corpus):
        if path.parent.name not in LAYERS:
            raise DataError(
                f"{path}: a layer that this version of outbound does not know, so it cannot forget in it; "
                "use the version that made it"
            )
