"""Text shards: webdataset tars of KEY.txt and KEY.json, and how to read them.

Beside each tar stands an index of where a document's members begin, so that one is read without scanning.
"""

from __future__ import annotations

import json
import mmap
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dataprep.corpus.directory import Build, Increment
from dataprep.errors import DataError
from dataprep.store.files import Output, publish, publish_array
from dataprep.store.npy import mapped
from dataprep.store.tars import append

STEP = "shard"

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

Span = tuple[int, int]


class Keys(msgspec.Struct):
    """What packing asks of KEY.json."""

    doc_id: str
    url_key: str


@dataclass(frozen=True)
class TextShard:
    """A tar and its index, as they were published."""

    tar: Output
    index: Output


def complete(build: Build, increment: Increment) -> bool:
    """Whether every shard of an increment is written."""
    return build.has(STEP, increment)


def outputs(build: Build, increment: Increment) -> list[Output]:
    """The tars of an increment, in order."""
    return [shard.tar for shard in shards(build, increment)]


def shards(build: Build, increment: Increment | None = None) -> list[TextShard]:
    """The shards of an increment, or of the whole build, in order; one of which nothing is left has none."""
    parts = build.parts(STEP, increment)
    return [TextShard(part.outputs["tar"], part.outputs["index"]) for part in parts if part.outputs]


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
                yield _sample(content_of(archive, about), content_of(archive, text))
    except (tarfile.TarError, ValueError) as error:
        raise damaged(tar, error) from None


def doc_ids(tar: Path) -> Iterator[bytes]:
    """The doc_id of each sample of a text shard, in order, from the headers of its members alone.

    Raises DataError when the tar is damaged.
    """
    try:
        with tar.open("rb") as file:
            at, size = 0, tar.stat().st_size
            while at < size and (header := os.pread(file.fileno(), tarfile.BLOCKSIZE, at)).strip(b"\0"):
                name, _, _ = header[:100].partition(b"\0")
                if name.endswith(b".txt"):
                    yield bytes.fromhex(name[:32].decode())
                blocks = -(-int(header[124:135], 8) // tarfile.BLOCKSIZE)
                at += tarfile.BLOCKSIZE * (1 + blocks)
    except ValueError as error:
        raise damaged(tar, error) from None


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
        raise damaged(tar, error) from None


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
        raise damaged(tar, error) from None
    return samples


def write_sample(tar: tarfile.TarFile, key: str, about: bytes, text: bytes) -> list[int]:
    """Append a sample's two members; returns where the content of each begins, and its size."""
    return [append(tar, f"{key}.json", about), len(about), append(tar, f"{key}.txt", text), len(text)]


def publish_shard(
    root: Path, written: Path, stem: str, members: list[tuple[bytes, list[int]]]
) -> dict[str, Output]:
    """Publish a tar that was written, and its index; members: doc_id and places of each sample.

    One without any goes: readers take a tar without members for an error.
    """
    if not members:
        written.unlink()
        return {}
    index = np.array([(_numbers(doc_id), *places) for doc_id, places in members], MEMBER)
    order = np.lexsort((index["json"], index["doc_id"][:, 1], index["doc_id"][:, 0]))
    return {
        "tar": publish(root, written, stem, ".tar", rows=len(members)),
        "index": publish_array(root, written.parent, f"{stem}-index", index[order]),
    }


def _numbers(doc_id: bytes) -> tuple[int, int]:
    return int.from_bytes(doc_id[:8], "big"), int.from_bytes(doc_id[8:], "big")


def _sample(about: bytes, text: bytes) -> dict[str, Any]:
    return {**json.loads(about), "text": text.decode()}


def content_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def damaged(tar: Path, error: Exception) -> DataError:
    return DataError(
        f"{tar}: is damaged ({error}); restore it from a copy; `outbound corpus verify` says what else is"
    )
