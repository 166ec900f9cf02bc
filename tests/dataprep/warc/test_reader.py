"""WARC files of every shape are read, and damage costs the records that it touches."""

from __future__ import annotations

import gzip
import tempfile
from base64 import b32encode
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.errors import DataError
from dataprep.warc.gzip_members import deflated, partly_stored
from dataprep.warc.reader import Damaged, Gap, WarcRecord, read_warc, record_in

HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


def raw(number: int, body: bytes, *, digest: bool = True, line: bytes = b"\r\n") -> bytes:
    """A response record as it stands in a plain file, without the line ends after it."""
    block = HTTP + body
    named = [b"WARC/1.0", b"WARC-Type: response", b"WARC-Target-URI: <http://a.test/%d>" % number]
    if digest:
        named.append(b"WARC-Block-Digest: sha1:" + b32encode(sha1(block).digest()))
    named += [b"Content-Length: %d" % len(block), b"", block]
    return line.join(named)


BODIES = [f"<p>Page {number}</p>".encode() + bytes(range(256)) * (5 * number % 7) for number in range(20)]
RAW = [raw(number, body) for number, body in enumerate(BODIES)]
END = b"\r\n\r\n"
SHAPES: dict[str, Callable[[list[bytes]], bytes]] = {
    "members": lambda records: b"".join(deflated(record + END) for record in records),
    "gzip -9 members": lambda records: b"".join(gzip.compress(record + END) for record in records),
    "stored members": lambda records: b"".join(partly_stored(b"", record, END) for record in records),
    "one stream": lambda records: gzip.compress(b"".join(record + END for record in records)),
    "plain": lambda records: b"".join(record + END for record in records),
}


@pytest.fixture
def warc(tmp_path: Path) -> Callable[[bytes], list[WarcRecord | Gap]]:
    def read(content: bytes) -> list[WarcRecord | Gap]:
        path = tmp_path / "a.warc"
        path.write_bytes(content)
        return list(read_warc(path))

    return read


def numbers(pieces: list[WarcRecord | Gap]) -> list[int]:
    """Which records were read; their blocks are right."""
    found = []
    for piece in pieces:
        if isinstance(piece, WarcRecord):
            number = int(piece.url.rpartition("/")[2])
            assert piece.block == HTTP + BODIES[number]
            found.append(number)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_every_record(warc: Callable[[bytes], list[WarcRecord | Gap]], shape: str) -> None:
    content = SHAPES[shape](RAW)
    pieces = warc(content)
    assert numbers(pieces) == list(range(len(RAW)))
    for piece in pieces:
        assert isinstance(piece, WarcRecord)
        assert piece.alone == (shape != "one stream")
        if piece.alone:
            alone = record_in(content[piece.offset : piece.offset + piece.length], piece.offset)
            assert alone == piece
        else:
            with pytest.raises(Damaged):
                record_in(content)


@pytest.mark.slow(2)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "one stream"])
def test_64_zeroed_bytes_cost_the_records_that_they_touch_wherever_they_fall(
    warc: Callable[[bytes], list[WarcRecord | Gap]], shape: str
) -> None:
    """At every place of the file in steps of 29 bytes."""
    content = SHAPES[shape](RAW)
    whole = [piece for piece in warc(content) if isinstance(piece, WarcRecord)]
    ends = [*[piece.offset for piece in whole[1:]], len(content)]
    for at in range(0, len(content) - 64, 29):
        damaged = content[:at] + bytes(64) + content[at + 64 :]
        if damaged == content:
            continue
        pieces = warc(damaged)
        touched = [n for n, piece in enumerate(whole) if piece.offset < at + 64 and at < ends[n]]
        lost = set(range(len(RAW))) - set(numbers(pieces))
        assert lost <= set(touched)
        covered = [piece for piece in pieces if isinstance(piece, Gap)]
        assert bool(covered) == bool(lost)


def test_damage_in_one_long_stream_keeps_what_was_inflated_before_it(
    warc: Callable[[bytes], list[WarcRecord | Gap]],
) -> None:
    noise = Random(1).randbytes
    bodies = [noise(40_000) for _ in range(12)]
    content = gzip.compress(b"".join(raw(number, body) + END for number, body in enumerate(bodies)))
    at = len(content) * 3 // 4
    pieces = warc(content[:at] + bytes(64) + content[at + 64 :])
    kept = [piece for piece in pieces if isinstance(piece, WarcRecord)]
    assert [piece.block for piece in kept] == [HTTP + body for body in bodies[: len(kept)]]
    assert len(kept) >= 6
    assert [piece.reason for piece in pieces if isinstance(piece, Gap)] == ["damaged_record"]


@given(st.integers(0), st.binary(min_size=1, max_size=80))
@settings(max_examples=300)
def test_no_damage_gives_other_bytes_or_raises(at: int, noise: bytes) -> None:
    content = SHAPES["members"](RAW[:6])
    at %= len(content)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content[:at] + noise + content[at + len(noise) :])
        file.flush()
        found = numbers(list(read_warc(Path(file.name))))
    assert found == sorted(set(found))
    assert len(found) >= 4 - len(noise) // 40


@pytest.mark.parametrize("shape", SHAPES)
def test_a_truncated_tail_is_named(warc: Callable[[bytes], list[WarcRecord | Gap]], shape: str) -> None:
    content = SHAPES[shape](RAW)
    pieces = warc(content[:-30])
    assert isinstance(pieces[-1], Gap)
    assert pieces[-1].reason == "truncated"
    assert pieces[-1].offset + pieces[-1].length == len(content) - 30
    kept = numbers(pieces)
    assert kept == list(range(len(RAW) - 1))


def test_every_cut_of_a_record_is_damaged() -> None:
    for content in (deflated(RAW[1] + END), RAW[1] + END):
        for size in range(len(content) - len(END)):
            with pytest.raises(Damaged):
                record_in(content[:size])


def test_every_damage_of_a_record_is_told_with_and_without_digests() -> None:
    """A member's checksum tells even where the digest's own header is what was hit."""
    for digest in (True, False):
        content = deflated(raw(1, BODIES[1], digest=digest) + END)
        for at in range(len(content)):
            damaged = bytearray(content)
            damaged[at] ^= 0x10
            try:
                assert record_in(bytes(damaged)).block == HTTP + BODIES[1]
            except Damaged:
                pass
            else:
                assert at < 10, "only the gzip header's own fields may change and lose nothing"
            zeroed = content[:at] + bytes(64) + content[at + 64 :]
            with pytest.raises(Damaged):
                record_in(zeroed[: len(content)] if at < len(content) - 4 else content[:-4])


def test_old_and_odd_writers_are_read(warc: Callable[[bytes], list[WarcRecord | Gap]]) -> None:
    unix = raw(1, BODIES[1], line=b"\n").replace(HTTP.replace(b"\r\n", b"\n"), HTTP)
    assert numbers(warc(unix + b"\n\n" + RAW[2])) == [1, 2]
    folded = RAW[3].replace(b"WARC-Type: response", b"warc-TYPE:\r\n response")
    pieces = warc(gzip.compress(folded))
    assert numbers(pieces) == [3]
    assert isinstance(pieces[0], WarcRecord)
    assert pieces[0].kind == "response"
    assert warc(b"") == []


def test_a_giant_record_is_passed_over(tmp_path: Path) -> None:
    giant = raw(9, bytes(3 << 20), digest=False)
    for shape in ("members", "one stream", "plain"):
        path = tmp_path / shape
        path.write_bytes(SHAPES[shape]([RAW[1], giant, RAW[2]]))
        pieces = list(read_warc(path, limit=1 << 20))
        assert numbers(pieces) == [1, 2]
        (gap,) = [piece for piece in pieces if isinstance(piece, Gap)]
        assert gap.reason == "too_large"


def test_what_is_no_warc_is_an_error_that_says_so(tmp_path: Path) -> None:
    for content in (b"Hello", gzip.compress(b"Hello"), b"\x1f\x8b\x08", bytes(1000)):
        path = tmp_path / "a.warc.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="holds no WARC record"):
            list(read_warc(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_warc(tmp_path / "missing.warc.gz"))
