"""Dumps of every form are read; what is broken is counted, named and costs nothing else."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import pytest
from backports import zstd

from dataprep.dumps import Damage, number, read_dump

LINES = [json.dumps({"id": f"{i:x}", "url": f"http://a.test/{i}", "score": i}).encode() for i in range(2000)]
TEXT = b"\n".join(LINES) + b"\n"


def zstd_long(data: bytes) -> bytes:
    options = {zstd.CompressionParameter.window_log: 31, zstd.CompressionParameter.compression_level: 3}
    return zstd.compress(data, options=options)


def read(path: Path) -> tuple[list[str], Damage]:
    damage = Damage(str(path))
    return [submission.id for submission in read_dump(path, damage)], damage


@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress, bytes])
def test_every_compression_is_told_by_its_content(tmp_path: Path, pack: object) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(pack(TEXT))  # type: ignore[operator]
    ids, damage = read(dump)
    assert ids == [f"{i:x}" for i in range(2000)]
    assert (damage.lines, damage.bad_lines, damage.stopped) == (2000, 0, None)


@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress])
def test_a_truncated_dump_is_reported_and_what_it_held_is_kept(tmp_path: Path, pack: object) -> None:
    text = b"\n".join(
        json.dumps({"id": f"{i:x}", "title": str(hash(i * 7.7))}).encode() for i in range(200_000)
    )
    whole = pack(text)  # type: ignore[operator]
    dump = tmp_path / "dump"
    dump.write_bytes(whole[: len(whole) * 4 // 5])
    ids, damage = read(dump)
    assert len(ids) > 50_000
    assert ids == [f"{i:x}" for i in range(len(ids))]
    assert damage.stopped is not None
    assert "unreadable after" in damage.stopped


def test_bad_lines_are_counted_named_and_skipped(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(LINES[0] + b'\n{"id": \n[1]\n{"id": 7}\n\xff\xfe\n\n' + LINES[1])
    ids, damage = read(dump)
    assert ids == ["0", "1"]
    assert damage.bad_lines == 4
    assert damage.examples[0].startswith("line 2: ")


def test_types_are_as_loose_as_the_dumps(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b'{"id":"a","score":"12","created_utc":"1388534682.0"}\n{"id":"b","score":null}')
    first, second = read_dump(dump, Damage(""))
    assert (number(first.score), number(first.created_utc)) == (12, 1388534682)
    assert number(second.score) is None
    assert number("many") is None
