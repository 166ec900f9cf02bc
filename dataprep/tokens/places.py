"""Where documents lie in the token streams of a generation.

A shard's `.docs.npy` tells the documents that begin in it; the last one may go on in the next shards of its
increment. A position is counted in tokens from the start of its split's stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprep.errors import DataError


@dataclass(frozen=True)
class Span:
    """The tokens [start, end) of a document in the stream of a split, its end-of-text included."""

    split: str
    start: int
    end: int
    doc_id: bytes


def document_at(tokens: Path, manifest: dict[str, Any], split: str, position: int) -> Span:
    """The document that a token belongs to; raises DataError when the split does not reach so far."""
    if split not in manifest["splits"]:
        raise DataError(f"--split {split}: {tokens} has {', '.join(manifest['splits'])}")
    for span in spans(tokens, manifest, split):
        if span.start <= position < span.end:
            return span
    held = sum(shard["tokens"] for shard in manifest["splits"][split]["shards"])
    raise DataError(f"--position {position}: {split} in {tokens} has {held:,} tokens, counted from 0")


def places_of(tokens: Path, manifest: dict[str, Any], doc_id: bytes) -> list[Span]:
    """Where a document lies: once, or once for each of its pieces."""
    return [
        span
        for split in manifest["splits"]
        for span in spans(tokens, manifest, split)
        if span.doc_id == doc_id
    ]


def spans(tokens: Path, manifest: dict[str, Any], split: str) -> Iterator[Span]:
    """The documents of a split in the order of its stream. Memory: the table of one shard."""
    first = 0
    last: tuple[int, bytes] | None = None
    for shard in manifest["splits"][split]["shards"]:
        table = np.load(tokens / shard["documents_path"])
        for start, doc_id in zip(table["start"].tolist(), table["doc_id"], strict=True):
            if last:
                yield Span(split, last[0], first + start, last[1])
            last = first + start, bytes(doc_id)
        first += shard["tokens"]
    if last:
        yield Span(split, last[0], first, last[1])
