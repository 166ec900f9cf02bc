"""A page becomes its text, or one reason."""

from __future__ import annotations

import gzip
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from dataprep.corpus.recipe import Extraction
from dataprep.errors import DataError
from dataprep.extract.page import UnreadablePage, read_page
from dataprep.extract.page_text import extracted

PROSE = "The harbour of the old town is quiet in winter, and the boats lie still under the snow. " * 8
META = '<meta name="author" content="Ada Lovelace"><meta name="date" content="2011-05-06">'
HEAD = f"<html><head><title>Harbour</title>{META}</head>"
PAGE = f"{HEAD}<body><nav>Home</nav><article><p>{PROSE}</p></article></body></html>"
URL = "http://a.test/1"


@pytest.fixture
def page(tmp_path: Path) -> Any:
    """page(body, headers) stores a response in a WARC and gives its row of `fetches`."""

    def store(body: bytes, content_type: str = "text/html", **headers: str) -> dict[str, Any]:
        fields = [("Content-Type", content_type), *((k.replace("_", "-"), v) for k, v in headers.items())]
        with (tmp_path / "a.warc.gz").open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            http = StatusAndHeaders("200 OK", fields, protocol="HTTP/1.1")
            writer.write_record(writer.create_warc_record(URL, "response", BytesIO(body), http_headers=http))
            length = file.tell()
        return {"warc_file": "a.warc.gz", "warc_offset": 0, "warc_length": length}

    return store


def document(root: Path, row: dict[str, Any], **limits: int) -> dict[str, Any]:
    settings = Extraction(**limits)
    place = root / row["warc_file"], row["warc_offset"], row["warc_length"]
    return extracted(read_page(*place, settings.max_bytes), URL, settings)


def test_a_page_becomes_its_text_with_what_it_says_of_itself(tmp_path: Path, page: Any) -> None:
    found = document(tmp_path, page(PAGE.encode()))
    expected = {"title": "Harbour", "author": "Ada Lovelace", "date": "2011-05-06", "text": PROSE.strip()}
    assert found == expected


def test_a_date_after_the_capture_is_not_believed(tmp_path: Path, page: Any) -> None:
    now = datetime.now(UTC)
    later = (now + timedelta(days=400)).date().isoformat()
    found = document(tmp_path, page(PAGE.replace("2011-05-06", later).encode()))
    assert (found["date"] or "") <= now.date().isoformat()


def test_compressed_bodies_are_read(tmp_path: Path, page: Any) -> None:
    row = page(gzip.compress(PAGE.encode()), Content_Encoding="gzip")
    assert document(tmp_path, row)["text"] == PROSE.strip()


def test_plain_text_is_its_own_extraction(tmp_path: Path, page: Any) -> None:
    found = document(tmp_path, page(b"Just text.\n", "text/plain; charset=utf-8"))
    assert found["text"] == "Just text."
    assert document(tmp_path, page("Żółw".encode("cp1250"), "text/plain; charset=cp1250"))["text"] == "Żółw"


def reason(root: Path, row: dict[str, Any], **limits: int) -> str:
    with pytest.raises(UnreadablePage) as raised:
        document(root, row, **limits)
    return str(raised.value)


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\x00\xff" * 500, b"<" * 5000])
def test_a_page_without_text_is_a_reason(tmp_path: Path, page: Any, body: bytes) -> None:
    assert reason(tmp_path, page(body)) == "no_text"


def test_binary_files_that_are_called_text_are_a_reason(tmp_path: Path, page: Any) -> None:
    assert reason(tmp_path, page(bytes(range(256)) * 9, "text/plain")) == "binary"


def test_pages_past_a_bound_are_reasons(tmp_path: Path, page: Any) -> None:
    def html(inner: str) -> bytes:
        return PAGE.replace("<article>", f"<article>{inner}").encode()

    many = page(html("<p>x</p>" * 100))
    assert reason(tmp_path, many, max_elements=108) == "too_many_elements"
    assert document(tmp_path, many, max_elements=109)["text"]
    deep = page(html("<div>" * 96 + "x" + "</div>" * 96))
    assert reason(tmp_path, deep, max_depth=98) == "too_deep"
    assert document(tmp_path, deep, max_depth=99)["text"]
    row = page(gzip.compress(html("x" * 100_000)), Content_Encoding="gzip")
    assert reason(tmp_path, row, max_bytes=100_000) == "too_large"
    assert reason(tmp_path, page(b"x" * 100_001, "text/plain"), max_bytes=100_000) == "too_large"


def test_codings_that_we_do_not_have_are_a_reason(tmp_path: Path, page: Any) -> None:
    packed = zstd.compress(PAGE.encode() * 9)
    assert reason(tmp_path, page(packed, Content_Encoding="zstd")) == "unknown_coding"


def test_a_damaged_record_is_a_reason_wherever_it_is_hit(tmp_path: Path, page: Any) -> None:
    row = page(PAGE.encode())
    warc = tmp_path / row["warc_file"]
    whole = warc.read_bytes()
    for at in range(len(whole) - 8):
        warc.write_bytes((whole[:at] + bytes(64) + whole[at + 64 :])[: len(whole)])
        assert reason(tmp_path, row) == "damaged_record", f"64 zeroed bytes from {at}"


def test_a_flipped_bit_never_gives_another_text(tmp_path: Path, page: Any) -> None:
    row = page(PAGE.encode())
    warc = tmp_path / row["warc_file"]
    whole = warc.read_bytes()
    place = warc, 0, len(whole), 1 << 20
    right = read_page(*place)
    for at in range(len(whole)):
        warc.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with suppress(UnreadablePage):
            assert read_page(*place) == right


def test_a_file_that_is_gone_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.warc\.gz: is missing; restore it"):
        read_page(tmp_path / "gone.warc.gz", 0, 9, 9)
