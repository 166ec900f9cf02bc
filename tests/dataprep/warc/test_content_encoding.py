from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprep.warc.content_encoding import PIECE_BYTES, BadEncoding, decoder

RAW = zlib.compressobj(wbits=-15)
TEXT = b"the same words again and again, " * 5000
SENT = {
    "": TEXT,
    "identity": TEXT,
    "gzip": gzip.compress(TEXT),
    "X-GZIP": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    " deflate ": RAW.compress(TEXT) + RAW.flush(),
}


def decoded(encoding: str, chunks: list[bytes]) -> bytes:
    decoding = decoder(encoding)
    text = b"".join(piece for chunk in chunks for piece in decoding.decode(chunk))
    decoding.finish()
    return text


@pytest.mark.parametrize("encoding", SENT)
@settings(max_examples=20)
@given(size=st.integers(1, 2000))
def test_a_body_decodes_however_the_network_cuts_it(encoding: str, size: int) -> None:
    sent = SENT[encoding]
    assert decoded(encoding, [sent[at : at + size] for at in range(0, len(sent), size)]) == TEXT


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    first = next(piece for piece in decoder("gzip").decode(bomb) if piece)
    assert len(bomb) < 60_000
    assert len(first) <= PIECE_BYTES


def test_an_empty_body_is_whole_in_any_encoding() -> None:
    assert decoded("gzip", []) == b""


def test_bytes_behind_the_end_of_a_stream_are_ignored() -> None:
    assert decoded("gzip", [SENT["gzip"] + b"\r\n", b"more"]) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_stream_that_breaks_off_is_an_error(encoding: str) -> None:
    with pytest.raises(BadEncoding, match="breaks off"):
        decoded(encoding, [SENT[encoding][:-9]])


def test_a_stream_that_is_not_what_it_says_is_an_error() -> None:
    with pytest.raises(BadEncoding, match="broken gzip"):
        decoded("gzip", [b"<html>plain text</html>"])


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "aes128gcm"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(BadEncoding, match="not asked for"):
        decoder(encoding)
