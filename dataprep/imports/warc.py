"""Kind `warc`: existing WARC files become the pages of an increment; this is the scan of what they hold.

The files become the increment's own, so that extraction, `verify` and `forget` find them as a crawl leaves
them: as another name of the same bytes where the filesystem can, else as a copy. A file that is one long gzip
stream, or an ARC file, is packed anew, a member for each record, since pages are read by their offsets. Files
are scanned by themselves; `first_captures` then decides which count. Memory: the captures of `partition_mb`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.tombstones import Forgotten
from dataprep.errors import DataError
from dataprep.imports.captures import PAGES, Capture, NoPage, is_robots_txt, page_of
from dataprep.imports.inputs import Input
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import Output, attempt_path, hash_file, publish_table
from dataprep.store.records import Record, commit, done
from dataprep.warc.arc import is_arc, read_archive
from dataprep.warc.filler import filled
from dataprep.warc.gzip_members import deflated
from dataprep.warc.reader import NO_RECORD, Gap, NoRecord, WarcRecord, read_warc

WORK = "captures"
"""What the scan leaves for `first_captures`; removed when the links are in."""

CAPTURES = pa.schema(
    [
        ("key_high", pa.uint64()),
        ("key_low", pa.uint64()),
        ("time", pa.int64()),
        ("file", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("url", pa.string()),
        ("site", pa.string()),
        ("captured_url", pa.string()),
        ("content_type", pa.string()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("truncated", pa.string()),
        ("warc_file", pa.string()),
    ]
)
"""A page of a WARC file. key_high, key_low: halves of url_key. file: the number of the input."""

_NO_LINKS = frozenset(
    [errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]
)
"""Why a filesystem refuses a second name for a file."""


def scan(
    corpus: Corpus,
    increment: Increment,
    number: int,
    files: list[tuple[int, Input]],
    hashes: dict[str, str],
    undated: int,
    tick: Callable[[int], None],
) -> Record:
    """Take files in, each with its number among all inputs, and list their pages; `tick` counts captures.

    undated: the time of a capture without a date, in seconds since 1970.
    A damaged range of a file counts as one capture, of which it was at least one; so does a file without
    any record, which is not taken in.
    """
    part = f"part-{number:05d}"
    path = increment.path / WORK / f"{part}.json"
    inputs = {each.name: hashes[each.name] for _, each in files}
    if record := done(path, inputs):
        tick(record.entered)
        return record
    rows: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    opt_outs: Counter[str] = Counter()
    warcs: dict[str, Output] = {}
    damage: list[FileDamage] = []
    forgotten = Forgotten.of(corpus.root)
    for place, each in files:
        lost = FileDamage(each.name)
        damage.append(lost)
        try:
            warc, unkept = _taken_in(each, increment.path / "pages", place, hashes[each.name])
        except NoRecord:
            reasons["damaged_record"] += 1
            lost.lines, lost.bad_lines, lost.stopped = 1, 1, NO_RECORD
            continue
        name, gone = str(warc.relative_to(corpus.root)), list[tuple[int, int]]()
        for found in chain(read_warc(warc), unkept):
            verdict = _judged(found, corpus, forgotten, lost)
            if isinstance(found, WarcRecord) and forgotten.names(found.url):
                gone.append((found.offset, found.length))
            if isinstance(verdict, Capture):
                rows.append(_row(verdict, place, found, name, undated))
            elif verdict:
                reasons[verdict.reason] += 1
                opt_outs.update([verdict.signal] if verdict.signal else [])
            if verdict:
                lost.lines += 1
                tick(1)
        if gone:  # in the copy of the corpus: what was forgotten is not imported
            copy = attempt_path(warc.parent, warc.name)
            filled(warc, gone, copy)
            os.replace(copy, warc)
        warcs[f"warc/{warc.name}"] = Output(path=name, bytes=warc.stat().st_size, xxh3_128=hash_file(warc))
        if not each.bytes:
            lost.stopped = "the file is empty"
    table = publish_table(corpus.root, path.parent, part, pa.Table.from_pylist(rows, schema=CAPTURES))
    record = Record(
        step=WORK,
        part=part,
        inputs=inputs,
        outputs={"captures": table, **warcs},
        entered=len(rows) + reasons.total(),
        passed=len(rows),
        reasons=dict(reasons),
        notes=msgspec.to_builtins(
            InputNotes(damage=[lost for lost in damage if lost.found], opt_outs=dict(opt_outs))
        ),
    )
    return commit(path, record)


def _judged(
    found: WarcRecord | Gap, corpus: Corpus, forgotten: Forgotten, lost: FileDamage
) -> Capture | NoPage | None:
    """The page, the reason why there is none, or None for a record that is no capture at all."""
    if isinstance(found, Gap):
        lost.note(f"bytes {found.offset:,} to {found.offset + found.length:,}", found.reason)
        return NoPage(found.reason)
    if found.kind in PAGES:
        page = page_of(found, corpus.recipe.collect, forgotten)
        return NoPage("robots_txt") if isinstance(page, Capture) and is_robots_txt(page.link) else page
    return NoPage("revisit") if found.kind == "revisit" else None


def _row(capture: Capture, place: int, found: WarcRecord | Gap, warc: str, undated: int) -> dict[str, Any]:
    high, low = np.frombuffer(capture.link.key, ">u8").tolist()
    return {
        "key_high": high,
        "key_low": low,
        "time": capture.time or undated,
        "file": place,
        "offset": found.offset,
        "length": found.length,
        "url": capture.link.url,
        "site": capture.link.site,
        "captured_url": capture.url,
        "content_type": capture.content_type,
        "etag": capture.etag,
        "last_modified": capture.last_modified,
        "truncated": capture.truncated,
        "warc_file": warc,
    }


def _taken_in(each: Input, pages: Path, place: int, digest: str) -> tuple[Path, list[Gap]]:
    """The increment's own WARC file of an input, and the damage that it does not hold any more.

    Raises DataError when the input has changed since it was hashed.
    """
    pages.mkdir(parents=True, exist_ok=True)
    first = next((found for found in read_archive(each.path) if isinstance(found, WarcRecord)), None)
    arc = is_arc(each.path)
    if arc or (first and not first.alone):
        name = each.path.name.removesuffix(".gz")
        name = name.removesuffix(".arc") + ".warc" if arc else name
        return _packed(each, pages / f"{place:05d}-{name}.gz")
    warc = pages / f"{place:05d}-{each.path.name}"
    source = each.path.resolve()
    if warc.exists() and warc.samefile(source):
        return warc, []
    warc.unlink(missing_ok=True)  # a copy by a call that was killed
    try:
        os.link(source, warc)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        attempt = attempt_path(pages, warc.name)
        shutil.copyfile(source, attempt)
        os.replace(attempt, warc)
    if hash_file(warc) != digest:
        raise DataError(f"{each.path}: changed while it was imported; run the command again")
    return warc, []


def _packed(each: Input, warc: Path) -> tuple[Path, list[Gap]]:
    """A WARC file of the same records, each a gzip member of its own; and what could not be read."""
    attempt = attempt_path(warc.parent, warc.name)
    gaps = []
    with attempt.open("wb") as file:
        for found in read_archive(each.path):
            if isinstance(found, Gap):
                gaps.append(found)
            else:
                head = "".join(f"{name}: {value}\r\n" for name, value in found.fields.items())
                file.write(
                    deflated(b"".join([b"WARC/1.0\r\n", head.encode(), b"\r\n", found.block, b"\r\n\r\n"]))
                )
    os.replace(attempt, warc)
    return warc, gaps
