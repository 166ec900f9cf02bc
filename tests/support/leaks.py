"""All that the files of a directory hold, however it is packed: for tests that look for what must be gone."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from dataprep.tokenizer import tokenizer
from dataprep.warc.reader import WarcRecord, read_warc


def contents(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file of a directory with its bytes, and again with what is packed in them."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield path, str(path).encode() + data
        if path.suffix == ".parquet":
            yield path, json.dumps(pq.read_table(path).to_pylist(), default=repr).encode()
        elif path.suffix == ".gz":
            yield path, gzip.decompress(data)
            yield path, b"".join(_bodies(path))
        elif path.suffix == ".tar":
            yield from ((path, member) for member in _members(data))
    yield from _tokens(root)


def _bodies(path: Path) -> Iterator[bytes]:
    """The bodies of a WARC file's responses, without their Content-Encoding."""
    for record in read_warc(path):
        if isinstance(record, WarcRecord):
            _, _, body = record.block.partition(b"\r\n\r\n")
            try:
                yield zlib.decompress(body, 47)
            except zlib.error:
                yield body


def _members(data: bytes) -> Iterator[bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            yield member.name.encode() + (file.read() if file else b"")


def _tokens(root: Path) -> Iterator[tuple[Path, bytes]]:
    """The token streams that generations list, decoded."""
    for path in root.glob("generation-*.json"):
        manifest = json.loads(path.read_text())
        bpe = tokenizer.load(root / "tokenizer")
        for split in manifest["splits"].values():
            blocks = [
                np.fromfile(root / shard["tar"]["path"], manifest["dtype"], length, offset=offset)
                for shard in split["shards"]
                for offset, length in shard["blocks"]
            ]
            yield path, bpe.decode(np.concatenate(blocks).tolist() if blocks else []).encode()
