"""Requests and answers as files: JSON lines in zstd, by the key of the request.

requests/00000-HASH.jsonl.zst   a partition of the requests of one kind     answers/00000-HASH.jsonl.zst
requests/known-HASH.jsonl.zst   what an earlier evaluation has answered     answers/known-HASH.jsonl.zst
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, KeysView
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import xxhash
from backports import zstd

from dataprep.errors import DataError
from dataprep.store.files import Output
from pipeline.eval.requests import Answer, Request

T = TypeVar("T")

SUFFIX = ".jsonl.zst"
PARTITION_TOKENS = 1 << 18
"""Tokens in a partition: what one process answers between two commits."""
_REMEDY = "remove the folder of this evaluation and evaluate again"
_ENCODER = msgspec.json.Encoder()


class Notes:
    """Collects requests, each once. They are kept packed: a tuple of ints takes ten times the memory."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def ask(self, request: Request) -> Answer:
        """Note a request; the answer is empty."""
        key = request.key
        if key not in self._packed:
            self._packed[key] = msgspec.msgpack.encode(request)
        return Answer(key=key)

    @property
    def keys(self) -> KeysView[str]:
        """The keys of all requests."""
        return self._packed.keys()

    def partitions(self, known: Container[str] = ()) -> Iterator[list[Request]]:
        """All but the known requests in partitions, each of one kind, with common beginnings side by side."""
        keys = [key for key in self._packed if key not in known]
        places = {key: _place(self._request(key)) for key in keys}
        for _, alike in groupby(sorted(keys, key=places.__getitem__), lambda key: places[key][0]):
            partition, room = list[Request](), PARTITION_TOKENS
            for request in map(self._request, alike):
                size = _tokens(request)
                if partition and size > room:
                    yield partition
                    partition, room = [], PARTITION_TOKENS
                partition.append(request)
                room -= size
            yield partition

    def _request(self, key: str) -> Request:
        return msgspec.msgpack.decode(self._packed[key], type=Request)


def _place(request: Request) -> tuple[bytes, bytes]:
    """The sort key of a request: first the settings that one call to the model shares, then its tokens."""
    alike = msgspec.msgpack.encode((request.kind, request.writing, request.likeliest))
    return alike, np.array(request.context + request.continuation, ">u4").tobytes()


def _tokens(request: Request) -> int:
    written = request.writing.max_tokens if request.writing else 0
    return len(request.context) + len(request.continuation) + written


@dataclass(frozen=True)
class Record:
    """Answers by the keys of their requests. where: the evaluation's folder."""

    where: Path
    answers: dict[str, Answer] = field(default_factory=dict)

    def ask(self, request: Request) -> Answer:
        """Look an answer up. Raises DataError for what was never asked."""
        try:
            return self.answers[request.key]
        except KeyError:
            raise DataError(
                f"{self.where}: has no answer to a request to {request.kind} after {len(request.context)} "
                "tokens: another version of outbound asked; remove this folder and evaluate again"
            ) from None


def write(path: Path, items: Iterable[Request] | Iterable[Answer]) -> None:
    """Write requests or answers."""
    path.write_bytes(zstd.compress(_ENCODER.encode_lines(items)))


def read(root: Path, output: Output, kind: type[T]) -> list[T]:
    """Read what `write` wrote. Raises DataError when it is missing or was altered."""
    path = root / output.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from None
    if xxhash.xxh3_128_hexdigest(content) != output.xxh3_128:
        raise DataError(f"{path}: was altered: its hash does not fit; {_REMEDY}")
    return msgspec.json.Decoder(kind).decode_lines(zstd.decompress(content))
