"""Dumps of every form are read; what is broken is counted, named and costs nothing else."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from dataprep.links.dumps import number, read_dump, true
from dataprep.store.file_damage import FileDamage

LINES = [json.dumps({"id": f"{i:x}", "url": f"http://a.test/{i}", "score": i}).encode() for i in range(2000)]
TEXT = b"\n".join(LINES) + b"\n"
IDS = [f"{i:x}" for i in range(2000)]
Pack = Callable[[bytes], bytes]


def zstd_long(data: bytes) -> bytes:
    """As `zstd --long=31` writes a stream: by its header it needs a window of 2 GiB."""
    options = {zstd.CompressionParameter.window_log: 31, zstd.CompressionParameter.compression_level: 3}
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(data) + compressor.flush()  # zstd.compress knows the size, and asks for less


def test_a_dump_asks_for_more_memory_than_zstd_gives_by_default() -> None:
    with pytest.raises(zstd.ZstdError, match="too much memory"):
        zstd.decompress(zstd_long(TEXT))


def read(path: Path) -> tuple[list[str], FileDamage]:
    damage = FileDamage(str(path))
    return [submission.id for block in read_dump(path, damage) for submission in block], damage


@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress, bytes])
def test_every_compression_is_told_by_its_content(tmp_path: Path, pack: Pack) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(pack(TEXT))
    ids, damage = read(dump)
    assert ids == [f"{i:x}" for i in range(2000)]
    assert (damage.lines, damage.bad_lines, damage.stopped) == (2000, 0, None)


@pytest.mark.slow(6)
@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress])
def test_a_truncated_dump_is_reported_and_what_it_held_is_kept(tmp_path: Path, pack: Pack) -> None:
    text = b"\n".join(
        json.dumps({"id": f"{i:x}", "title": str(hash(i * 7.7))}).encode() for i in range(80_000)
    )
    whole = pack(text)
    dump = tmp_path / "dump"
    dump.write_bytes(whole[: len(whole) * 4 // 5])
    ids, damage = read(dump)
    assert len(ids) > 20_000
    assert ids == [f"{i:x}" for i in range(len(ids))]
    assert damage.stopped is not None
    assert "unreadable after" in damage.stopped


def test_a_plain_dump_that_ends_within_a_line_is_truncated(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b"\n".join(LINES[:3])[:-9])
    ids, damage = read(dump)
    assert (ids, damage.bad_lines, damage.stopped) == (["0", "1"], 1, "ends within line 3")
    for whole in (
        LINES[0],
        LINES[0] + b"\n",
        LINES[0] + b"\n\x1a",
        LINES[0] + b'\n{"id": 7}',
        LINES[0] + b"\r\n ",
    ):
        dump.write_bytes(whole)
        assert read(dump)[1].stopped is None


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
    first, second = (submission for block in read_dump(dump, FileDamage("")) for submission in block)
    assert (number(first.score), number(first.created_utc)) == (12, 1388534682)
    assert number(second.score) is None
    assert number("many") is None


@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress])
def test_streams_that_follow_one_another_are_one_dump(tmp_path: Path, pack: Pack) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(pack(TEXT[:5001]) + pack(TEXT[5001:]))
    ids, damage = read(dump)
    assert ids == IDS
    assert damage.stopped is None


@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress])
def test_what_follows_the_last_stream_is_never_ignored(tmp_path: Path, pack: Pack) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(pack(TEXT) + b"garbage")
    ids, damage = read(dump)
    assert ids == IDS
    assert "of the file" in str(damage.stopped)


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_zeros_may_pad_a_stream(tmp_path: Path, pack: Pack) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(pack(TEXT) + bytes(300_000))
    ids, damage = read(dump)
    assert (ids, damage.stopped) == (IDS, None)


def test_a_frame_that_zstd_skips_may_come_first(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zstd_long(TEXT))
    assert read(dump)[0] == IDS


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress, gzip.compress])
def test_a_flipped_byte_is_reported_with_its_place(tmp_path: Path, pack: Pack) -> None:
    whole = bytearray(pack(TEXT))
    whole[len(whole) // 2] ^= 0xFF
    dump = tmp_path / "dump"
    dump.write_bytes(whole)
    assert "of the file" in str(read(dump)[1].stopped)


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b"")
    assert read(dump) == ([], FileDamage(str(dump), stopped="the file is empty"))


@pytest.mark.parametrize(
    "bad",
    [
        b'{"id": "x", "title": "", "url": "\xff"}',  # no UTF-8
        b'{"id": "x", "media": ' + b"[" * 100_000,
        b'{"id": "x"} {"id": "y"}',
        b'{"id": "x", "score": NaN',
        b'{"id": null}',
        b'{"score": 1}',
        b'{"id": "x", "url": ["http://a.test/"]}',
        b"\x00" * 100,
    ],
    ids=lambda bad: str(bad[:30]),
)
def test_a_hostile_line_costs_only_itself(tmp_path: Path, bad: bytes) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(LINES[0] + b"\r\n" + bad + b"\n" + LINES[1])
    ids, damage = read(dump)
    assert ids == ["0", "1"]
    assert (damage.lines, damage.bad_lines) == (3, 1)
    assert damage.examples[0].startswith("line 2: ")


@pytest.mark.parametrize(
    "value",
    [
        b'"ratio": NaN',
        b'"ratio": -Infinity, "score": 1',
        b'"ratio": 1e999',
        b'"ratio": %b' % (b"9" * 5000),
        b'"title": "cut \\ud83d"',
        b'"title": "a\tb"',
        b'"selftext": 5',
        b'"subreddit": {"name": "x"}',
        b'"score": [1]',
    ],
    ids=lambda value: str(value[:30]),
)
def test_a_value_that_decides_nothing_costs_no_line(tmp_path: Path, value: bytes) -> None:
    line = b'{"id": "x", "url": "http://a.test/x", %b}' % value
    dump = tmp_path / "dump"
    dump.write_bytes(b"\n".join([LINES[0], b"\xef\xbb\xbf" + line, LINES[1]]))
    damage = FileDamage("dump")
    found = [submission for block in read_dump(dump, damage) for submission in block]
    assert [(each.id, each.url) for each in found][1] == ("x", "http://a.test/x")
    assert (len(found), damage) == (3, FileDamage("dump", lines=3))


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b'{"id": "x", "url": "http://a.test/\\ud800", "selftext": "\\ud83d\\ude00"}')
    ((submission,),) = read_dump(dump, FileDamage("dump"))
    assert (submission.url, submission.selftext) == ("http://a.test/\ufffd", "\U0001f600")


def test_a_mark_of_removal_of_any_type_is_a_yes_unless_it_is_empty(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(b'{"id": "a", "over_18": {"by": "x"}}\n{"id": "b", "over_18": []}')
    found = [submission for block in read_dump(dump, FileDamage("dump")) for submission in block]
    assert [true(each.over_18) for each in found] == [True, False]


@pytest.mark.parametrize("pack", [zstd_long, lzma.compress, bz2.compress, gzip.compress, bytes])
def test_a_byte_order_mark_may_begin_a_dump(tmp_path: Path, pack: Pack) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(pack(b"\xef\xbb\xbf" + TEXT))
    ids, damage = read(dump)
    assert (ids, damage.bad_lines) == (IDS, 0)


def test_a_line_too_long_for_memory_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataprep.links.dumps.LONGEST_LINE_BYTES", 300_000)
    dump = tmp_path / "dump"
    dump.write_bytes(LINES[0] + b'\n{"id": "x", "selftext": "' + b"x" * 2_000_000 + b'"}\n' + LINES[1])
    ids, damage = read(dump)
    assert ids == ["0", "1"]
    assert damage.bad_lines == 1


@pytest.mark.parametrize(
    ("value", "whole"),
    [(3, 3), (3.0, 3), ("3", 3), (" -7 ", -7), ("3.9", 3), (1e300, None), (float("nan"), None), ("", None)],
)
def test_numbers_of_every_form(value: int | float | str, whole: int | None) -> None:
    assert number(value) == whole


def test_a_flag_may_be_a_word() -> None:
    yes, no = (True, 1, "true", "True", "1"), (False, 0, "false", "", "0", None)
    assert all(map(true, yes))
    assert not any(map(true, no))
