"""ARC files are read as WARC files are: every record ends in one count, and damage costs no other record."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.errors import DataError
from dataprep.imports.rows import Fields
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import read_table
from support.ready_corpus import make_corpus, no_progress


def page(words: str) -> bytes:
    text = "".join(
        f"<p>It was a quiet evening by the harbour, said {words}, the {n}th.</p>" for n in range(9)
    )
    return f"<html><head><title>{words}</title></head><body><article>{text}</article></body></html>".encode()


def response(body: bytes, kind: str = "text/html") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def record(
    url: str, block: bytes, kind: str = "text/html", version: int = 1, date: str = "20080612103045"
) -> bytes:
    more = " 200 ABCDEF - 1234 x.arc.gz" if version == 2 else ""
    return f"{url} 192.0.2.1 {date} {kind}{more} {len(block)}\n".encode() + block + b"\n"


def description(version: int = 1) -> bytes:
    names = {
        1: "URL IP-address Archive-date Content-type Archive-length",
        2: "URL IP-address Archive-date ...",
    }
    return record(
        "filedesc://x.arc",
        f"{version} 0 Internet Archive\n{names[version]}\n".encode(),
        "text/plain",
        version,
    )


def whole(records: list[bytes]) -> bytes:
    return b"".join(records)


def members(records: list[bytes]) -> bytes:
    return b"".join(map(gzip.compress, records))


def one_stream(records: list[bytes]) -> bytes:
    return gzip.compress(b"".join(records))


def bring(corpus: Corpus, *paths: Path) -> Increment:
    increment = ingest.bring(corpus, "a", "warc", list(paths), Fields(), None, 1, no_progress)
    assert list(problems(corpus)) == []
    return increment


def counts(increment: Increment) -> tuple[int, dict[str, int]]:
    records = increment.records("links")
    return sum(each.passed for each in records), sum(
        (Counter(each.reasons) for each in records), Counter[str]()
    )


def damage(increment: Increment) -> list[FileDamage]:
    return [each for found in increment.records("links") for each in found.noted(InputNotes).damage]


@pytest.mark.slow(2)
@pytest.mark.parametrize(("pack", "version"), [(whole, 1), (members, 1), (members, 2), (one_stream, 2)])
def test_an_arc_file_gives_its_pages(
    tmp_path: Path, pack: Callable[[list[bytes]], bytes], version: int
) -> None:
    records = [
        description(version),
        record("http://a.test/", response(page("one")), "text/html; charset=utf-8", version),
        record("http://a.test/x.png", response(b"\x89PNG\n\n", "image/png"), "image/png", version),
        record("dns:a.test", b"20080612103045\na.test. 1 IN A 192.0.2.1", "text/dns", version),
        record("http://a.test/robots.txt", response(b"User-agent: *", "text/plain"), "text/plain", version),
        record("http://b.test/a b", response(page("two")), version=version, date="20080612000000"),
    ]
    folder = tmp_path / "crawl"
    folder.mkdir()
    (folder / ("x.arc" if pack is whole else "x.arc.gz")).write_bytes(pack(records))
    corpus = make_corpus(tmp_path / "corpus")
    increment = bring(corpus, folder)
    assert counts(increment) == (2, {"wrong_type": 1, "no_link": 1, "robots_txt": 1})
    assert damage(increment) == []
    found = read_table(corpus.root, increment.outputs("extract", "documents")).to_pylist()
    assert {(row["url"], row["title"], row["first_seen"]) for row in found} == {
        ("http://a.test/", "one", 1213266645),
        ("http://b.test/a%20b", "two", 1213228800),
    }
    (warc,) = (increment.path / "pages").iterdir()
    assert warc.name == "00000-x.warc.gz"
    with warc.open("rb") as file:
        kept = [
            (each.rec_headers["WARC-Date"], each.content_stream().read()) for each in ArchiveIterator(file)
        ]
    assert kept[0] == ("2008-06-12T10:30:45Z", page("one"))
    assert len(kept) == 5


@pytest.mark.slow(1)
def test_damage_in_an_arc_file_costs_what_it_touches(tmp_path: Path) -> None:
    records = [record(f"http://a.test/{n}", response(page(str(n)))) for n in range(4)]
    records[1] = records[1].replace(b" 192.0.2.1 20080612103045", b"")
    (tmp_path / "bad.arc").write_bytes(description() + b"".join(records)[:-20])
    (tmp_path / "cut.arc.gz").write_bytes(
        members([description(), record("http://b.test/", response(page("b"))), *records[3:]])[:-40]
    )
    corpus = make_corpus(tmp_path / "corpus")
    increment = bring(corpus, tmp_path / "bad.arc", tmp_path / "cut.arc.gz")
    assert counts(increment) == (3, {"damaged_record": 1, "truncated": 2})
    assert [each.path for each in damage(increment)] == ["bad.arc", "cut.arc.gz"]


def test_an_arc_file_without_records_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.arc").write_bytes(description())
    corpus = make_corpus(tmp_path / "corpus")
    with pytest.raises(DataError, match=r"x\.arc: holds no WARC record"):
        bring(corpus, tmp_path / "x.arc")
