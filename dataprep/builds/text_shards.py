"""Step `shard`: the kept documents of an increment as webdataset tars of KEY.txt and KEY.json.

A shard is a run of kept documents, by partition and row, of about the recipe's `shard_mb` million characters;
where shards are cut depends on the facts and the recipe alone. A document that was cut gives a sample for
each of its pieces. Byte-reproducible: no times, no owners, keys are doc_ids. Beside each tar stands an index
of where a document's members begin, so that one is read without scanning.

Memory: of the plan about 50 bytes a document of the increment; of a shard as much again, a batch of
documents, the compressed text of a row group, the shard's submissions, and 300 bytes a sample for the index.
"""

from __future__ import annotations

import json
import mmap
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataprep import masking
from dataprep.arrays import mapped
from dataprep.builds import decontaminate, kept
from dataprep.corpus import Build, Corpus, Increment
from dataprep.errors import DataError
from dataprep.store import Output, Record, attempt_path, commit, done, publish, publish_array, read_table
from dataprep.tars import append, open_tar

STEP = "text"

MEMBER = np.dtype(
    [
        ("doc_id", "<u8", (2,)),
        ("json", "<u8"),
        ("json_bytes", "<u8"),
        ("text", "<u8"),
        ("text_bytes", "<u8"),
    ]
)
"""Where in its tar the contents of a sample's two members begin, and their sizes; doc_id as two numbers."""

ABOUT = ("url", "site", "title", "author", "date", "karma", "first_seen", "language", "submissions")
"""What KEY.json says of a document beside its keys and its WARC record."""

LINK_ROWS = 4096

Span = tuple[int, int]


class Keys(msgspec.Struct):
    """What packing asks of KEY.json."""

    doc_id: str
    url_key: str


@dataclass(frozen=True)
class Shard:
    """One of `of` shards of an increment: its rows [low, high) of some document partitions."""

    number: int
    of: int
    ranges: list[tuple[int, int, int]]


@dataclass(frozen=True)
class TextShard:
    """A tar and its index, as they were published."""

    tar: Output
    index: Output


def plan(corpus: Corpus, build: Build, increment: Increment) -> list[Shard]:
    """Cut the kept documents of an increment, and what decontamination left of them, into shards.

    An increment that keeps nothing has one shard without rows, whose record says that it is done.
    """
    rows, _ = _written(corpus, build, increment)
    sizes = np.empty(0, np.int64)
    scores = increment.records("scores")
    bounds = np.searchsorted(rows["part"], np.arange(len(scores) + 1))
    for record, (first, last) in zip(scores, pairwise(bounds), strict=True):
        characters = read_table(corpus.root, record.outputs[:1], ["characters"])["characters"].to_numpy()
        sizes = np.append(sizes, characters[rows["row"][first:last]])
    numbers = (np.cumsum(sizes) - sizes) // int(corpus.recipe.select.shard_mb * 1e6)
    _, starts = np.unique(numbers, return_index=True)
    if not len(rows):
        return [Shard(0, 1, [])]
    shards = []
    for number, documents in enumerate(np.split(rows, starts[1:])):
        parts = np.unique(documents["part"])
        inside = [documents["row"][documents["part"] == part] for part in parts]
        ranges = [
            (int(part), int(here[0]), int(here[-1]) + 1) for part, here in zip(parts, inside, strict=True)
        ]
        shards.append(Shard(number, len(starts), ranges))
    return shards


def run_part(
    corpus: Corpus, build: Build, increment: Increment, shard: Shard, tick: Callable[[int], None]
) -> Record:
    """Write one shard of `plan`; `tick` is told of documents."""
    part = f"{increment.number:04d}-{shard.number:05d}"
    path = build.path / STEP / f"{part}.json"
    documents, scores = increment.records("documents"), increment.records("scores")
    sources = [
        kept.verdicts(build, increment).outputs[0],
        *decontaminate.outputs(build, increment),
        *(stage[number].outputs[0] for number, _, _ in shard.ranges for stage in (documents, scores)),
    ]
    inputs = {output.path: output.xxh3_128 for output in sources}
    if record := done(path, inputs):
        tick(record.passed)
        return record
    stem = f"{corpus.recipe.name}-{part}"
    written = attempt_path(path.parent, stem)
    entered, members, outputs = 0, list[tuple[bytes, list[int]]](), list[Output]()
    with written.open("wb") as file, open_tar(file) as tar:
        for row, pieces in _documents(corpus, build, increment, shard):
            entered += 1
            for sample in _samples(row, pieces, corpus.recipe.select.mask):
                members.append((row["doc_id"], _write(tar, *sample)))
            tick(1)
    if members:
        outputs = [
            publish(corpus.root, written, stem, ".tar", rows=len(members)),
            _publish_index(corpus, path.parent, stem, members),
        ]
    else:
        written.unlink()  # readers take a tar without members for an error
    return commit(path, Record(STEP, part, inputs, outputs, entered, entered, notes={"shards": shard.of}))


def complete(build: Build, increment: Increment) -> bool:
    """Whether every shard of an increment is written."""
    records = _records(build, increment)
    return bool(records) and len(records) == records[0].notes["shards"]


def outputs(build: Build, increment: Increment) -> list[Output]:
    """The tars of an increment, in order."""
    return [shard.tar for shard in shards(build, increment)]


def shards(build: Build, increment: Increment | None = None) -> list[TextShard]:
    """The shards of an increment, or of the whole build, in order."""
    records = _records(build, increment) if increment else build.records(STEP)
    return [TextShard(*record.outputs) for record in records if record.outputs]


def read_documents(tar: Path) -> Iterator[dict[str, Any]]:
    """The samples of a text shard: KEY.json's fields and `text`, in order.

    Raises DataError when the tar is damaged.
    """
    try:
        with tarfile.open(tar) as archive:
            members = iter(archive)
            for about, text in zip_longest(members, members):
                if not (text and about.name.endswith(".json") and text.name == about.name[:-5] + ".txt"):
                    raise ValueError(f"{about.name} has no partner beside it")
                yield _sample(_content(archive, about), _content(archive, text))
    except (tarfile.TarError, ValueError) as error:
        raise _damaged(tar, error) from None


def text_bytes(root: Path, shard: TextShard) -> int:
    """Bytes of all texts of a shard in UTF-8."""
    return int(mapped(root / shard.index.path)["text_bytes"].sum())


def read_texts(
    root: Path, shard: TextShard, wanted: Callable[[bytes], bool] | None = None
) -> Iterator[tuple[bytes, bytes, str]]:
    """doc_id, url_key and text of a shard's samples, in order, by its index: what packing reads, fast.

    wanted: says of a doc_id whether its samples are read. Raises DataError when the shard or its index is
    damaged.
    """
    tar = root / shard.tar.path
    try:
        index = np.load(root / shard.index.path)
        index = index[np.argsort(index["json"])]
        doc_ids = np.frombuffer(index["doc_id"].astype(">u8").tobytes(), "V16").tolist()
        places = [index[name].tolist() for name in ("json", "json_bytes", "text", "text_bytes")]
        with tar.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for doc_id, about, about_size, text, text_size in zip(doc_ids, *places, strict=True):
                if wanted and not wanted(doc_id):
                    continue
                keys = msgspec.json.decode(content[about : about + about_size], type=Keys)
                if keys.doc_id != doc_id.hex() or text + text_size > len(content):
                    raise ValueError(f"its index does not fit it at {doc_id.hex()}")
                yield doc_id, bytes.fromhex(keys.url_key), content[text : text + text_size].decode()
    except (ValueError, EOFError, FileNotFoundError, msgspec.DecodeError) as error:
        raise _damaged(tar, error) from None


def read_document(root: Path, shard: TextShard, doc_id: bytes) -> list[dict[str, Any]]:
    """The samples of one document in a shard: one, or one for each piece; none when it is not there.

    Reads just these members. Raises DataError when the shard or its index is damaged.
    """
    tar = root / shard.tar.path
    high, low = _numbers(doc_id)
    samples = []
    try:
        index = mapped(root / shard.index.path)
        first, last = (
            np.searchsorted(index["doc_id"][:, 0], np.uint64(high), side) for side in ("left", "right")
        )
        with tar.open("rb") as file:
            for member in index[first:last]:
                if member["doc_id"][1] == low:
                    about = os.pread(file.fileno(), int(member["json_bytes"]), int(member["json"]))
                    text = os.pread(file.fileno(), int(member["text_bytes"]), int(member["text"]))
                    samples.append(_sample(about, text))
    except (OSError, ValueError) as error:
        raise _damaged(tar, error) from None
    return samples


def rewritten(
    corpus: Corpus, shard: TextShard, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> list[Output]:
    """Publish a shard again with what `change` makes of each KEY.json; None takes the sample out.

    Gives the shard's own outputs when nothing changes, and none when no sample is left. Memory: one sample.
    Raises DataError when the tar is damaged.
    """
    path = corpus.root / shard.tar.path
    stem = path.name.rpartition("-")[0]
    written = attempt_path(path.parent, stem)
    try:
        members, changed = _rewrite(path, written, change)
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    if not changed or not members:
        written.unlink()
        return [] if changed else [shard.tar, shard.index]
    tar = publish(corpus.root, written, stem, ".tar", rows=len(members))
    return [tar, _publish_index(corpus, path.parent, stem, members)]


def _rewrite(
    path: Path, written: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> tuple[list[tuple[bytes, list[int]]], bool]:
    """Write a tar's samples as `change` makes them: those written, for the index, and whether any changed."""
    members, changed = list[tuple[bytes, list[int]]](), False
    with tarfile.open(path) as old, written.open("wb") as file, open_tar(file) as new:
        sources = iter(old)
        for about, text in zip(sources, sources, strict=True):
            before = _content(old, about)
            fields = json.loads(before)
            after = change(fields)
            if after is None:
                changed = True
                continue
            content = before if after == fields else json.dumps(after, ensure_ascii=False).encode()
            changed = changed or content is not before
            key = about.name.removesuffix(".json")
            members.append((bytes.fromhex(fields["doc_id"]), _write(new, key, content, _content(old, text))))
    return members, changed


def _records(build: Build, increment: Increment) -> list[Record]:
    return [record for record in build.records(STEP) if record.part.startswith(f"{increment.number:04d}-")]


def _written(
    corpus: Corpus, build: Build, increment: Increment
) -> tuple[npt.NDArray[np.void], dict[tuple[int, int], list[Span]]]:
    """The kept rows that are not contaminated (kept.KEPT_ROW), and the pieces of those that were cut."""
    rows = kept.kept_rows(corpus, build, increment)
    pieces = decontaminate.pieces(corpus, build, increment)
    if not pieces:
        return rows, pieces
    stays = [
        bool(pieces.get((part, row), True))
        for part, row in zip(rows["part"].tolist(), rows["row"].tolist(), strict=True)
    ]
    return rows[np.array(stays, np.bool_)], pieces


def _documents(
    corpus: Corpus, build: Build, increment: Increment, shard: Shard
) -> Iterator[tuple[dict[str, Any], list[Span] | None]]:
    """Each document of a shard with what KEY.json says of it, and its pieces if it was cut."""
    rows, pieces = _written(corpus, build, increment)
    here = {
        part: rows["row"][(rows["part"] == part) & (rows["row"] >= low) & (rows["row"] < high)]
        for part, low, high in shard.ranges
    }
    documents, scores = increment.records("documents"), increment.records("scores")
    paths = {part: corpus.root / documents[part].outputs[0].path for part in here}
    keys = {
        key
        for part, chosen_rows in here.items()
        for batch in kept.chosen(paths[part], chosen_rows, ["url_key"])
        for key in batch["url_key"].to_pylist()
    }
    submissions = _submissions(corpus, increment, keys)
    for part, chosen_rows in here.items():
        languages = read_table(corpus.root, scores[part].outputs[:1], ["language"])["language"]
        places = iter(chosen_rows.tolist())
        for batch in kept.chosen(paths[part], chosen_rows):
            for document in batch.to_pylist():
                place = next(places)
                document["language"] = languages[place].as_py()
                document["submissions"] = submissions.get(document["url_key"], [])
                yield document, pieces.get((part, place))


def _samples(
    row: dict[str, Any], pieces: list[Span] | None, kinds: frozenset[str]
) -> Iterator[tuple[str, bytes, bytes]]:
    """Key, KEY.json and KEY.txt of each sample that a document gives."""
    key = row["doc_id"].hex()
    about = {
        **{name: row[name].hex() for name in ("doc_id", "url_key", "text_key")},
        **{name: row[name] for name in ABOUT},
        "warc": {name: row[f"warc_{name}"] for name in ("file", "offset", "length")},
    }
    for number, piece in enumerate(pieces or [None]):
        text = row["text"] if piece is None else row["text"][slice(*piece)]
        more: dict[str, Any] = {} if piece is None else {"piece": piece}
        if kinds:
            text, more["masked"] = masking.mask(text, kinds)
            about["title"] = about["title"] and masking.mask(about["title"], kinds)[0]
        content = json.dumps(about | more, ensure_ascii=False).encode()
        yield key if piece is None else f"{key}-{number:02d}", content, text.encode()


def _write(tar: tarfile.TarFile, key: str, about: bytes, text: bytes) -> list[int]:
    """Append a sample's two members; returns where the content of each begins, and its size."""
    return [append(tar, f"{key}.json", about), len(about), append(tar, f"{key}.txt", text), len(text)]


def _publish_index(
    corpus: Corpus, directory: Path, stem: str, members: list[tuple[bytes, list[int]]]
) -> Output:
    index = np.array([(_numbers(doc_id), *places) for doc_id, places in members], MEMBER)
    order = np.lexsort((index["json"], index["doc_id"][:, 1], index["doc_id"][:, 0]))
    return publish_array(corpus.root, directory, f"{stem}-index", index[order])


def _numbers(doc_id: bytes) -> tuple[int, int]:
    return int.from_bytes(doc_id[:8], "big"), int.from_bytes(doc_id[8:], "big")


def _sample(about: bytes, text: bytes) -> dict[str, Any]:
    return {**json.loads(about), "text": text.decode()}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _damaged(tar: Path, error: Exception) -> DataError:
    return DataError(
        f"{tar}: is damaged ({error}); restore it from a copy; `outbound corpus verify` says what else is"
    )


def _submissions(corpus: Corpus, increment: Increment, keys: set[bytes]) -> dict[bytes, list[dict[str, Any]]]:
    """The submissions of some URLs."""
    wanted = pa.array(keys, pa.binary(16))
    found: dict[bytes, list[dict[str, Any]]] = {}
    for record in increment.link_records:
        with pq.ParquetFile(corpus.root / record.outputs[0].path) as file:
            for batch in file.iter_batches(LINK_ROWS, columns=["url_key", "submissions"]):
                rows = batch.filter(pa.compute.is_in(batch["url_key"], value_set=wanted)).to_pylist()
                found |= {row["url_key"]: row["submissions"] for row in rows}
    return found
