"""Pages become documents, or one counted reason each."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from dataprep.documents.extract import Unreadable, document, page_body
from dataprep.errors import DataError
from dataprep.recipe import Extraction

PROSE = "The harbour of the old town is quiet in winter, and the boats lie still under the snow. " * 8
HEAD = "<html><head><title>Harbour</title></head>"
PAGE = f"{HEAD}<body><nav>Home</nav><article><p>{PROSE}</p></article></body></html>"
LINK = {"url_key": b"k" * 16, "url": "http://a.test/1", "site": "a.test", "karma": 3, "first_seen": 9}


@pytest.fixture
def page(tmp_path: Path) -> Any:
    """page(body, headers) stores a response in a WARC and gives its row of `fetches`."""

    def store(body: bytes, content_type: str = "text/html", **headers: str) -> dict[str, Any]:
        fields = [("Content-Type", content_type), *((k.replace("_", "-"), v) for k, v in headers.items())]
        with (tmp_path / "a.warc.gz").open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            http = StatusAndHeaders("200 OK", fields, protocol="HTTP/1.1")
            writer.write_record(
                writer.create_warc_record(LINK["url"], "response", BytesIO(body), http_headers=http)
            )
            length = file.tell()
        kind = content_type.partition(";")[0]
        return {"warc_file": "a.warc.gz", "warc_offset": 0, "warc_length": length, "content_type": kind}

    return store


def test_a_page_becomes_its_text_with_title_and_where_it_lies(tmp_path: Path, page: Any) -> None:
    found = document(tmp_path, page(PAGE.encode()), LINK, Extraction())
    assert found["text"] == PROSE.strip()
    assert (found["title"], found["url"], found["warc_offset"]) == ("Harbour", LINK["url"], 0)


def test_identity_is_content_never_position(tmp_path: Path, page: Any) -> None:
    one = document(tmp_path, page(PAGE.encode()), LINK, Extraction())
    other = document(tmp_path, page(PAGE.encode()), {**LINK, "url_key": b"x" * 16}, Extraction())
    assert one["text_key"] == other["text_key"]
    assert one["doc_id"] != other["doc_id"]


def test_compressed_bodies_are_read(tmp_path: Path, page: Any) -> None:
    import gzip

    row = page(gzip.compress(PAGE.encode()), Content_Encoding="gzip")
    assert document(tmp_path, row, LINK, Extraction())["text"] == PROSE.strip()


def test_an_old_encoding_is_read_by_what_the_page_declares(tmp_path: Path, page: Any) -> None:
    text = "Über die Wälder zog der Föhn, und die Bäche führten Schmelzwasser zu Tal. " * 8
    head = '<head><meta charset="windows-1252"></head>'
    html = f"<html>{head}<body><article><p>{text}</p></article></body></html>"
    found = document(tmp_path, page(html.encode("cp1252")), LINK, Extraction())
    assert found["text"] == text.strip()


def test_plain_text_is_its_own_extraction(tmp_path: Path, page: Any) -> None:
    found = document(tmp_path, page(b"Just text.\n", "text/plain; charset=utf-8"), LINK, Extraction())
    assert found["text"] == "Just text."


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\x00\xff" * 500, b"<" * 5000])
def test_a_page_without_text_is_a_reason(tmp_path: Path, page: Any, body: bytes) -> None:
    with pytest.raises(Unreadable):
        document(tmp_path, page(body), LINK, Extraction())


def test_a_damaged_record_is_a_reason(tmp_path: Path, page: Any) -> None:
    row = page(PAGE.encode())
    warc = tmp_path / row["warc_file"]
    warc.write_bytes(warc.read_bytes()[:100] + b"\x00" * 64 + warc.read_bytes()[164:])
    with pytest.raises(Unreadable, match="damaged_record"):
        document(tmp_path, row, LINK, Extraction())
    with pytest.raises(DataError, match=r"gone\.warc\.gz: is missing"):
        page_body(tmp_path / "gone.warc.gz", 0)


def test_a_flipped_bit_never_gives_another_text(tmp_path: Path, page: Any) -> None:
    """A deflate stream can end early without an error; the record's digest tells."""
    row = page(PAGE.encode())
    warc = tmp_path / row["warc_file"]
    whole = warc.read_bytes()
    right = page_body(warc, 0)
    for place in range(0, len(whole), 7):
        warc.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with suppress(Unreadable):
            assert page_body(warc, 0)[0] == right[0]
