"""A safetensors file written tensor by tensor: hashed on the way, with one tensor in memory at a time."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.uint8: "U8"}
_SIZES = {torch.float32: 4, torch.uint8: 1}

Shapes = dict[str, tuple[torch.dtype, tuple[int, ...]]]
"""Tensor name -> its dtype and shape."""


class SafetensorsWriter:
    """Writes the tensors that were announced, in the order in which they were announced.

    The format (safetensors' README): eight bytes of header length, a JSON header with each tensor's byte
    range, then the bytes. A context manager; on leaving, the file is on disk.
    """

    def __init__(self, path: Path, shapes: Shapes) -> None:
        self.path = path
        self._waiting = list(shapes)
        header: dict[str, Any] = {}
        at = 0
        for name, (dtype, shape) in shapes.items():
            end = at + _SIZES[dtype] * math.prod(shape)
            header[name] = {"dtype": _DTYPES[dtype], "shape": list(shape), "data_offsets": [at, end]}
            at = end
        encoded = json.dumps(header).encode()
        encoded += b" " * (-len(encoded) % 8)
        self._digest = xxhash.xxh3_128()
        self.not_finite: str | None = None
        """The first tensor that holds a NaN or an infinity, if one does."""
        self._file = path.open("wb")
        self._bytes = 0
        self._put(len(encoded).to_bytes(8, "little"))
        self._put(encoded)

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
        except OSError as failed:
            if kind is None:
                raise self._failure(failed) from None

    def write(self, name: str, tensor: Tensor) -> None:
        """Append the next tensor; ValueError when another was due."""
        if not self._waiting or self._waiting.pop(0) != name:
            raise ValueError(f"{self.path}: {name} is out of turn")
        # A sum is finite only if all of it is, and makes no mask; that of great numbers may not be.
        if self.not_finite is None and not tensor.sum().isfinite() and not tensor.isfinite().all():
            self.not_finite = name
        self._put(tensor.detach().cpu().contiguous().flatten().numpy().view(np.uint8).data)

    def file_record(self) -> dict[str, Any]:
        """Return what was written: file name, bytes and xxh3_128."""
        return {"file": self.path.name, "bytes": self._bytes, "xxh3_128": self._digest.hexdigest()}

    def _put(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as failed:
            raise self._failure(failed) from None
        self._bytes += len(data)

    def _failure(self, failed: OSError) -> OSError:
        """Name the file, which the system does not; it goes, so that a full disk has its room back."""
        self.path.unlink(missing_ok=True)
        return OSError(failed.errno, failed.strerror, str(self.path))
