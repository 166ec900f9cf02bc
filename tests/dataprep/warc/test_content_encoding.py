from __future__ import annotations

import gzip
import zlib

import brotlicffi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.warc.content_encoding import (
    MAX_CODINGS,
    MAX_MEMBERS,
    PIECE_BYTES,
    PROBE_BYTES,
    BadEncoding,
    TooLarge,
    decoded,
    decoder,
)

RAW = zlib.compressobj(wbits=-15)
TEXT = b"the same words again and again, " * 5000
LIMIT = 10 * len(TEXT)
COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotlicffi.compress}
GZIP = gzip.compress(TEXT)
MEMBERS = b"".join(gzip.compress(TEXT[at : at + 900]) for at in range(0, len(TEXT), 900))
SENT = {
    "": TEXT,
    "identity": TEXT,
    "gzip": GZIP,
    "X-GZIP": GZIP,
    "gzip ": MEMBERS,
    " gzip": gzip.compress(b"") + GZIP + gzip.compress(b"") + b"\r\n\x1f\x8b no member",
    "gzip,": GZIP + bytes(99),
    "deflate": zlib.compress(TEXT),
    " deflate ": RAW.compress(TEXT) + RAW.flush(),
    "deflate,": GZIP,
    "br": brotlicffi.compress(TEXT),
    "gzip, br": brotlicffi.compress(GZIP),
    "gzip,gzip": GZIP,
    "gzip,,gzip": gzip.compress(GZIP),
    "utf-8, gzip": GZIP,
    "none": TEXT,
    "Gzip": TEXT,
    "DEFLATE": TEXT,
    "BR": TEXT,
    "zstd": TEXT,
}
SHORT = {"gzip": b"Hi", "deflate": b"\nHi", "br": b"\nHi", "zstd": b"H", "": b"Hi", "br,gzip": b""}


def undone(encoding: str, chunks: list[bytes], limit: int = LIMIT) -> bytes:
    decoding = decoder(encoding, limit)
    text = b"".join(piece for chunk in chunks for piece in decoding.decode(chunk))
    text += b"".join(decoding.finish())
    assert decoding.ended, "breaks off"
    return text


@pytest.mark.parametrize("encoding", SENT)
@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 2000))
def test_a_body_decodes_however_the_network_cuts_it(encoding: str, size: int) -> None:
    sent = SENT[encoding]
    assert undone(encoding, [sent[at : at + size] for at in range(0, len(sent), size)]) == TEXT


@pytest.mark.parametrize("encoding", SHORT)
def test_a_short_body_that_does_not_have_its_coding_stands(encoding: str) -> None:
    assert undone(encoding, [SHORT[encoding]]) == SHORT[encoding]


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), min_size=1),
    coding=st.sampled_from(sorted(COMPRESS)),
)
def test_no_text_is_taken_for_a_coding_and_none_that_is_coded_for_text(text: str, coding: str) -> None:
    plain = text.encode()
    coded = COMPRESS[coding](plain)
    assert undone(coding, [plain * (1 + PROBE_BYTES // len(plain))]).startswith(plain)
    assert undone(coding, [coded]) == plain


@pytest.mark.parametrize("coding", COMPRESS)
def test_a_bomb_comes_in_small_pieces_up_to_its_limit(coding: str) -> None:
    plain = bytes(50_000_000)
    bomb = brotlicffi.compress(plain, quality=1) if coding == "br" else COMPRESS[coding](plain)
    came = list[int]()
    with pytest.raises(TooLarge):
        came.extend(len(piece) for piece in decoded(bomb, coding, 1_000_000))
    came = [len(piece) for piece in decoded(bomb, coding, len(plain))]
    assert len(bomb) < 60_000
    assert max(came) <= PIECE_BYTES
    assert sum(came) == len(plain)


def test_a_bomb_inside_a_coding_is_stopped_though_nothing_comes_out_of_it() -> None:
    # the zeros are behind the end, and ignored
    hollow = gzip.compress(gzip.compress(b"") + bytes(50_000_000))
    with pytest.raises(TooLarge):
        undone("gzip, gzip", [hollow], limit=1_000_000)


def test_members_that_bring_nothing_are_counted() -> None:
    assert undone("gzip", [gzip.compress(b"") * MAX_MEMBERS]) == b""
    with pytest.raises(BadEncoding, match="gzip members"):
        undone("gzip", [gzip.compress(b"") * 2 * MAX_MEMBERS])


def test_bytes_behind_the_end_of_a_stream_are_ignored() -> None:
    assert undone("gzip", [GZIP + b"\r\n", b"more"]) == TEXT


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_stream_that_breaks_off_is_an_error_and_gives_what_came(encoding: str) -> None:
    long = b" ".join(b"%d" % number**2 for number in range(9999))
    body = COMPRESS[encoding](long)
    with pytest.raises(AssertionError, match="breaks off"):
        undone(encoding, [body[:-9]])
    came = b"".join(decoded(body[:-9], encoding, LIMIT))
    assert came
    assert long.startswith(came)


def test_a_second_member_that_breaks_off_is_an_error() -> None:
    with pytest.raises(AssertionError, match="breaks off"):
        undone("gzip", [GZIP + GZIP[:-9]])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "aes128gcm", "gzip, gzip"])
def test_bytes_that_are_neither_the_coding_nor_text_are_refused(encoding: str) -> None:
    noise = b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 9
    for body in (noise, gzip.compress(noise)) if encoding == "gzip, gzip" else (noise, noise[:9]):
        with pytest.raises(BadEncoding, match="neither"):
            undone(encoding, [body])
        with pytest.raises(BadEncoding):
            list(decoded(body, encoding, LIMIT))


def test_many_codings_are_refused_unread() -> None:
    with pytest.raises(BadEncoding, match="more than"):
        decoder(", ".join(["gzip"] * (MAX_CODINGS + 1)), LIMIT)
