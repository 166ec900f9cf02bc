"""Tars as WebDataset's writer makes them, with the same bytes from the same content whoever writes them when.

The writer itself comes with torch, which takes seconds to import.
"""

from __future__ import annotations

import io
import tarfile
from typing import IO


def open_tar(file: IO[bytes]) -> tarfile.TarFile:
    """Begin an uncompressed tar in a file that is open for writing."""
    return tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)


def append(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add a member; returns where in the file its content begins, in bytes."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o444
    begin = tar.offset + tarfile.BLOCKSIZE
    tar.addfile(member, io.BytesIO(content))
    return begin
