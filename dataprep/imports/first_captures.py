"""Which captures enter: the pages of imported WARC files against the links that the corpus has already.

A URL enters with its earliest capture, by time and then by the order of the inputs, unless it has entered
before. The captures are spilled by URL key and taken back range by range, as `links` does with posts.
Memory: about the recipe's `partition_mb`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataprep.corpus.directory import Corpus, Increment, Index
from dataprep.crawl import rounds
from dataprep.imports.warc import CAPTURES, WORK
from dataprep.links import karma
from dataprep.links import stage as links
from dataprep.links.index import URL, LinkIndex, find, index_attempt, index_before, merged, publish_index
from dataprep.store import root_manifest
from dataprep.store.external_sort import SortedSpill, ranges
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import Output, publish_table, read_table
from dataprep.store.npy import ArrayWriter
from dataprep.store.records import Record, commit

CAPTURE_BYTES = 2048
"""What a capture takes in memory while its range is sorted and written; a URL of the index an eighth."""


@dataclass
class CapturePartition:
    """Ranges of URL keys that make one partition: what enters, and what was counted."""

    captures: list[pa.Table] = field(default_factory=list)
    entered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def enter(corpus: Corpus, increment: Increment) -> None:
    """Make links and fetches from what `warc.scan` listed; the step file of the links says that it is done.

    The first partition's records also count the captures that are no pages, name what was damaged, and list
    the WARC files.
    """
    before, previous_inputs = index_before(corpus, increment)
    scanned = increment.records(WORK)
    inputs = {name: digest for record in scanned for name, digest in record.inputs.items()} | previous_inputs
    stale = [
        path for step in (links.STEP, rounds.STEP) for path in (increment.path / step).glob("*.json")
    ]  # of a call that was killed: nothing was made from it yet
    root_manifest.release(corpus.root, [str(path.relative_to(corpus.root)) for path in stale])
    for path in stale:
        path.unlink()
    beside = Beside.of(scanned)
    urls = index_attempt(corpus, increment, "urls")
    with SortedSpill(increment.path / WORK, CAPTURES) as spill, ArrayWriter(urls, URL) as index:
        for record in scanned:
            spill.add(read_table(corpus.root, [record.outputs["captures"]]))
        for number, part in enumerate(_parts(corpus, increment, spill, before, index)):
            _commit(corpus, increment, number, part, inputs, beside)
            beside = Beside()
    links.finish(corpus, increment, inputs, publish_index(corpus, increment, "urls", urls, index.rows))


def tidy(increment: Increment) -> None:
    """Remove what the scan left, when the links are in."""
    shutil.rmtree(increment.path / WORK, ignore_errors=True)


@dataclass
class Beside:
    """What the scan found beside pages; it stands in the first partition's records."""

    warcs: dict[str, Output] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    damage: list[FileDamage] = field(default_factory=list)
    opt_outs: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def of(scanned: list[Record]) -> Beside:
        beside = Beside()
        for record in scanned:
            beside.warcs |= {
                name: output for name, output in record.outputs.items() if name.startswith("warc/")
            }
            beside.reasons.update(record.reasons)
            noted = record.noted(InputNotes)
            beside.damage += noted.damage
            beside.opt_outs.update(noted.opt_outs)
        return beside


def _parts(
    corpus: Corpus, increment: Increment, spill: SortedSpill, before: Index, index: ArrayWriter
) -> Iterator[CapturePartition]:
    """Take the captures back range by range; where ranges are cut depends on counts and recipe alone."""
    limit = corpus.recipe.collect.partition_mb * 1e6 / CAPTURE_BYTES
    part = CapturePartition()
    previous, known = LinkIndex.load(corpus.root, before), sum(piece.rows for piece in before.urls)
    for low, high in ranges(int((spill.rows + known / 8) / limit) + 1):
        if part.entered >= limit / 2:
            yield part
            part = CapturePartition()
        captures = spill.read(low, high)
        chosen, urls, reasons = earliest(captures, previous.urls_in(low, high), increment.number)
        part.captures.append(chosen)
        part.entered += captures.num_rows
        part.reasons.update(reasons)
        index.write(urls)
    yield part


def earliest(
    captures: pa.Table, known: npt.NDArray[np.void], increment: int
) -> tuple[pa.Table, npt.NDArray[np.void], dict[str, int]]:
    """The captures (CAPTURES, sorted by key) whose URLs enter, the index after them, and why others do not.

    known: the index's URLs of the same range. captures = those that enter + sum(reasons).
    """
    order = [captures[name].to_numpy() for name in ("offset", "file", "time", "key_low", "key_high")]
    captures = captures.take(np.lexsort(order))
    keys = np.column_stack([captures["key_high"].to_numpy(), captures["key_low"].to_numpy()])
    new = np.ones(len(keys), np.bool_)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    first = np.flatnonzero(new)  # (URLs,) the earliest capture of each
    rows = find(known, keys[first])
    after = np.zeros(len(first), URL)
    after[rows >= 0] = known[rows[rows >= 0]]
    after["key"] = keys[first]
    fresh = after["entered"] == 0
    after["entered"][fresh] = increment
    reasons = {"repeated_capture": len(keys) - len(first), "already_entered": int((~fresh).sum())}
    return captures.take(first[fresh]), merged(known, rows, after), reasons


def _commit(
    corpus: Corpus,
    increment: Increment,
    number: int,
    part: CapturePartition,
    inputs: dict[str, str],
    beside: Beside,
) -> None:
    """Write the links and the fetches of a partition."""
    captures = pa.concat_tables(part.captures)
    name = f"part-{number:05d}"
    directory = increment.path / links.STEP
    entered = _columns(captures, karma.SCHEMA, {"time": "first_seen"}, submissions=[])
    table = publish_table(corpus.root, directory, name, entered)
    reasons = {reason: n for reason, n in sorted((part.reasons + beside.reasons).items()) if n}
    record = Record(
        step=links.STEP,
        part=name,
        inputs=inputs,
        outputs={"links": table},
        entered=part.entered + beside.reasons.total(),
        passed=table.rows,
        reasons=reasons,
        versions=links.VERSIONS,
        notes=msgspec.to_builtins(InputNotes(damage=beside.damage, opt_outs=dict(beside.opt_outs)))
        if beside.damage or beside.opt_outs
        else {},
    )
    commit(directory / f"{name}.json", record)

    name = f"warc-{number:05d}"
    directory = increment.path / rounds.STEP
    renamed = {"captured_url": "final_url", "offset": "warc_offset", "length": "warc_length"}
    found = _columns(captures, rounds.SCHEMA, renamed, outcome="ok", status=200, detail="")
    output = publish_table(corpus.root, directory, name, found)
    record = Record(
        step=rounds.STEP,
        part=name,
        inputs=inputs,
        outputs={"fetches": output, **beside.warcs},
        entered=found.num_rows,
        passed=found.num_rows,
    )
    commit(directory / f"{name}.json", record)


def _columns(captures: pa.Table, schema: pa.Schema, renamed: dict[str, str], **constant: object) -> pa.Table:
    """Captures as a table of another schema: columns of its names, constants, and nulls for the rest."""
    keys = np.column_stack([captures["key_high"].to_numpy(), captures["key_low"].to_numpy()]).astype(">u8")
    rows = captures.num_rows
    key = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(keys.tobytes())])
    columns = {renamed.get(name, name): captures[name] for name in captures.column_names} | {"url_key": key}
    arrays = [
        columns[field.name].cast(field.type)
        if field.name in columns
        else pa.array([constant.get(field.name)] * rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
