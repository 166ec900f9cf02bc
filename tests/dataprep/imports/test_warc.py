"""WARC files become pages, fetches and links; every capture ends in one count."""

from __future__ import annotations

import gzip
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from dataprep import ingest
from dataprep.audit.funnel import funnel
from dataprep.audit.status import status
from dataprep.audit.trace import trace
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Collect, Crawl, Links, Recipe
from dataprep.corpus.urls import canonical
from dataprep.errors import DataError
from dataprep.imports.rows import Fields
from dataprep.links.index import LinkIndex
from dataprep.store.file_damage import FileDamage, InputNotes
from dataprep.store.files import read_table
from pipeline.cli.corpus.app import table
from support.cli import run
from support.ready_corpus import TABLES, no_progress
from support.servers.pywb import write_warc

HTML = {"Content-Type": "text/html; charset=utf-8"}


def page(words: str, head: str = "") -> bytes:
    text = "".join(
        f"<p>It was a quiet evening by the harbour, said {words} for the {n}th time.</p>" for n in range(9)
    )
    head = f"<title>{words}</title>{head}"
    return f"<html><head>{head}</head><body><article>{text}</article></body></html>".encode()


def make(root: Path, partition_mb: float = 256) -> Corpus:
    collect = Collect(
        links=Links(blocked_sites=frozenset(["blocked.test"])),
        crawl=Crawl(max_bytes=20_000),
        partition_mb=partition_mb,
    )
    return Corpus.create(root, Recipe(name="imports", collect=collect))


def bring(corpus: Corpus, name: str, *paths: Path, kind: str = "warc") -> Increment:
    increment = ingest.bring(corpus, name, kind, list(paths), Fields(), None, 1, no_progress)
    assert list(problems(corpus)) == []
    return increment


def rows(corpus: Corpus, increment: Increment, step: str) -> list[dict[str, Any]]:
    outputs = increment.outputs(step, TABLES[step])
    return sorted(read_table(corpus.root, outputs).to_pylist(), key=lambda row: str(row["url"]))


def damage(increment: Increment) -> list[FileDamage]:
    return [each for record in increment.records("links") for each in record.noted(InputNotes).damage]


def counts(increment: Increment) -> tuple[int, int, dict[str, int]]:
    records = increment.records("links")
    reasons = sum((Counter(record.reasons) for record in records), Counter[str]())
    return sum(r.entered for r in records), sum(r.passed for r in records), dict(reasons)


@pytest.mark.slow(1)
def test_what_a_record_says_about_training_is_heeded_and_counted_by_signal(tmp_path: Path) -> None:
    said: list[tuple[dict[str, str], str]] = [
        ({"X-Robots-Tag": "noindex, noai"}, ""),
        ({"TDM-Reservation": "1"}, ""),
        ({"Content-Usage": "search=y, train-ai=n"}, ""),
        ({"Content-Signal": "ai-train=no"}, ""),
        ({}, '<meta name="tdm-reservation" content="1">'),
        ({}, '<meta name="robots" content="noimageai">'),
        ({"Content-Usage": "train-ai=y", "X-Robots-Tag": "noindex"}, ""),
        ({"Content-Type": "text/plain"}, "the words X-Robots-Tag: noai"),
    ]
    captures = [
        (f"http://a.test/{n}", "20130801120000", 200, HTML | headers, page(str(n), meta))
        for n, (headers, meta) in enumerate(said)
    ]
    warc = write_warc(tmp_path / "x.warc.gz", captures)
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", warc)
    assert counts(increment) == (8, 2, {"opted_out": 6})
    assert status(corpus).opt_outs == {
        "X-Robots-Tag: noai": 1,
        "tdm-reservation: 1": 1,
        "Content-Usage: train-ai=n": 1,
        "Content-Signal: ai-train=no": 1,
        "meta tdm-reservation: 1": 1,
        "meta robots: noimageai": 1,
    }
    assert "1 by Content-Usage: train-ai=n" in run("corpus", "status", corpus.root).stdout


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_page_that_speaks_of_a_header_does_not_send_it(tmp_path: Path, end: str) -> None:
    head = f"HTTP/1.1 200 OK{end}Content-Type: text/plain{end}{end}"
    block = f"{head}How to:{end}X-Robots-Tag: noai{end}".encode()
    warc = tmp_path / "x.warc"
    warc.write_bytes(
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.test/\r\n"
        b"WARC-Date: 2013-08-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:1>\r\n"
        b"Content-Type: application/http; msgtype=response\r\n"
        b"Content-Length: %d\r\n\r\n%b\r\n\r\n" % (len(block), block)
    )
    corpus = make(tmp_path / "corpus")
    assert counts(bring(corpus, "a", warc)) == (1, 1, {})


def test_every_capture_is_a_page_or_has_a_reason(tmp_path: Path) -> None:
    captures = [
        ("http://a.test/page?utm_source=x", "20130801120000", 200, HTML, page("one")),
        ("http://a.test/gone", "20130801120000", 404, HTML, page("gone")),
        ("http://a.test/busy", "20130801120000", 503, HTML, page("busy")),
        ("http://a.test/moved", "20130801120000", 301, HTML | {"Location": "/page"}, b""),
        ("http://a.test/odd", "20130801120000", 203, HTML, page("odd")),
        ("http://a.test/x.pdf", "20130801120000", 200, {"Content-Type": "application/pdf"}, b"%PDF"),
        ("http://a.test/noai", "20130801120000", 200, HTML | {"X-Robots-Tag": "noai"}, page("noai")),
        ("http://a.test/meta", "20130801120000", 200, HTML, page("m", '<meta name=robots content="noai">')),
        ("http://a.test/large", "20130801120000", 200, HTML, page("large") + b" " * 20_000),
        (
            "http://a.test/bomb",
            "20130801120000",
            200,
            HTML | {"Content-Encoding": "gzip"},
            gzip.compress(bytes(10**6)),
        ),
        ("http://www.blocked.test/", "20130801120000", 200, HTML, page("blocked")),
        ("http://www.reddit.com/r/x", "20130801120000", 200, HTML, page("reddit")),
        ("ftp://a.test/file", "20130801120000", 200, HTML, page("ftp")),
        ("https://a.test/page", "20130701120000", 200, HTML, page("one before")),
        (
            "http://b.test/",
            "20130801120000",
            200,
            {"Content-Type": "text/plain"},
            b"A plain text of some words.",
        ),
        (
            "http://b.test/zip",
            "20130801120000",
            200,
            HTML | {"Content-Encoding": "gzip"},
            gzip.compress(page("zip")),
        ),
    ]
    warc = write_warc(tmp_path / "x.warc.gz", captures)  # type: ignore[arg-type]
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", warc)
    assert counts(increment) == (
        16,
        3,
        {
            "not_found": 1, "server_error": 1, "redirect": 1, "http_error": 1, "wrong_type": 1,
            "opted_out": 2, "too_large": 2, "blocked_site": 1, "reddit": 1, "no_link": 1,
            "repeated_capture": 1,
        },
    )  # fmt: skip
    links = rows(corpus, increment, "links")
    assert [(link["url"], link["first_seen"], link["karma"], link["submissions"]) for link in links] == [
        ("http://b.test/", 1375358400, None, []),
        ("http://b.test/zip", 1375358400, None, []),
        ("https://a.test/page", 1372680000, None, []),
    ]
    fetches = rows(corpus, increment, "fetch")
    assert [row["outcome"] for row in fetches] == ["ok"] * 3
    for row in fetches:
        with (corpus.root / row["warc_file"]).open("rb") as file:
            file.seek(row["warc_offset"])
            assert next(ArchiveIterator(file)).rec_headers["WARC-Target-URI"] == row["final_url"]
    texts = {row["url"]: row["text"] for row in rows(corpus, increment, "extract")}
    assert "one before" in texts["https://a.test/page"]
    assert "said zip" in texts["http://b.test/zip"]
    assert not (increment.path / "captures").exists()
    found = trace(corpus, rows(corpus, increment, "extract")[0]["doc_id"].hex())
    assert (found["karma"], found["submissions"]) == (None, [])


@pytest.mark.slow(1)
def test_plain_files_and_long_gzip_streams_give_the_same_documents(tmp_path: Path) -> None:
    captures = [(f"http://a.test/{n}", "20130801120000", 200, HTML, page(f"number {n}")) for n in range(9)]
    packed = write_warc(tmp_path / "a.warc.gz", captures)  # type: ignore[arg-type]
    plain = tmp_path / "b.warc"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    stream = tmp_path / "c.warc.gz"
    stream.write_bytes(gzip.compress(plain.read_bytes()))
    found = []
    for warc in (packed, plain, stream):
        corpus = make(tmp_path / warc.stem)
        found.append([row["doc_id"] for row in rows(corpus, bring(corpus, "x", warc), "extract")])
    assert len(found[0]) == 9
    assert found == [found[0]] * 3


def test_damage_costs_the_records_that_it_touches_and_is_named(tmp_path: Path) -> None:
    captures = [(f"http://a.test/{n}", "20130801120000", 200, HTML, page(f"number {n}")) for n in range(30)]
    warc = write_warc(tmp_path / "a.warc.gz", captures)  # type: ignore[arg-type]
    content = bytearray(warc.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    (tmp_path / "b.warc.gz").write_bytes(content[:-10])
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "x", tmp_path / "b.warc.gz")
    entered, passed, reasons = counts(increment)
    assert passed >= 27
    assert entered == passed + sum(reasons.values())
    assert set(reasons) == {"damaged_record", "truncated"}
    (found,) = damage(increment)
    assert found.path == "b.warc.gz"
    assert len(found.examples) == found.bad_lines == sum(reasons.values())
    assert all(example.startswith("bytes ") for example in found.examples)


def test_a_long_gzip_stream_that_was_cut_is_named(tmp_path: Path) -> None:
    """Its records are packed anew, so the copy has no damage; the count has."""
    captures = [(f"http://a.test/{n}", "20130801120000", 200, HTML, page(f"number {n}")) for n in range(30)]
    whole = write_warc(tmp_path / "a.warc.gz", captures).read_bytes()  # type: ignore[arg-type]
    stream = gzip.compress(gzip.decompress(whole))
    (tmp_path / "b.warc.gz").write_bytes(stream[: len(stream) // 2])
    increment = bring(make(tmp_path / "corpus"), "x", tmp_path / "b.warc.gz")
    entered, passed, reasons = counts(increment)
    assert passed > 9
    assert (reasons, entered) == ({"truncated": 1}, passed + 1)
    assert [each.path for each in damage(increment)] == ["b.warc.gz"]


def test_a_url_enters_once_however_often_it_is_captured(tmp_path: Path) -> None:
    def captured(name: str, *numbers: int) -> Path:
        pages = [(f"http://a.test/{n}", "20130801120000", 200, HTML, page(f"{name} {n}")) for n in numbers]
        return write_warc(tmp_path / f"{name}.warc.gz", pages)  # type: ignore[arg-type]

    corpus = make(tmp_path / "corpus")
    bring(corpus, "first", captured("a", 1, 2, 3), captured("b", 3, 4))
    second = bring(corpus, "second", captured("c", 4, 5), captured("d", 5, 6))
    assert [row["url"][-1] for row in rows(corpus, second, "extract")] == ["5", "6"]
    assert counts(second) == (4, 2, {"repeated_capture": 1, "already_entered": 1})
    found = corpus.index(second)
    assert found
    index = LinkIndex.load(corpus.root, found).urls_in(0, 1 << 64)
    assert sorted(index["entered"].tolist()) == [1, 1, 1, 1, 2, 2]
    halves = {tuple(row["key"].tolist()) for row in index}
    key = canonical("http://a.test/6").key
    assert (int.from_bytes(key[:8], "big"), int.from_bytes(key[8:], "big")) in halves


@pytest.mark.slow(1)
def test_partitions_change_nothing_that_is_kept(tmp_path: Path) -> None:
    warcs = []
    for file in range(4):
        pages = [
            (f"http://a{n}.test/", f"201308010000{file:02d}", 200, HTML, page(f"{file} {n}"))
            for n in range(9)
        ]
        warcs.append(write_warc(tmp_path / f"{file}.warc.gz", pages))  # type: ignore[arg-type]
    kept = []
    for name, partition_mb in (("one", 256), ("many", 0.004)):
        corpus = make(tmp_path / name, partition_mb)
        increment = bring(corpus, "x", *warcs)
        documents = rows(corpus, increment, "extract")
        kept.append([(row["doc_id"], row["url"], row["warc_file"], row["warc_offset"]) for row in documents])
        if name == "many":
            assert len(increment.records("links")) > 3
    assert kept[0] == kept[1]
    assert {file.rpartition("/")[2] for _, _, file, _ in kept[0]} == {"00000-0.warc.gz"}


def test_wet_records_are_documents(tmp_path: Path) -> None:
    warc = tmp_path / "x.warc.wet.gz"
    with warc.open("wb") as file:
        writer = WARCWriter(file, gzip=True, warc_version="1.0")
        writer.write_record(writer.create_warcinfo_record("x", {"software": "test"}))
        for n, text in enumerate(("First words.", "Second words.", "")):
            body = text.encode()
            named = {"WARC-Date": "2013-08-01T00:00:00Z"}
            record = writer.create_warc_record(
                f"http://a.test/{n}",
                "conversion",
                BytesIO(body),
                len(body),
                "text/plain",
                warc_headers_dict=named,
            )
            writer.write_record(record)
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "x", warc, kind="wet")
    found = rows(corpus, increment, "extract")
    assert [(row["url"], row["text"], row["first_seen"]) for row in found] == [
        ("http://a.test/0", "First words.", 1375315200),
        ("http://a.test/1", "Second words.", 1375315200),
    ]
    assert increment.records("extract")[0].reasons == {"no_text": 1}


def test_a_file_without_any_record_costs_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "crawl"
    folder.mkdir()
    (folder / "a.warc.gz").write_bytes(gzip.compress(b"no such thing" * 99))
    (folder / "b.warc").write_bytes(b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 99\r\n\r\ncut")
    (folder / "c.warc").write_bytes(b"")
    write_warc(folder / "d.warc.gz", [("http://a.test/", "20130801120000", 200, HTML, page("whole"))])
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "x", folder)
    assert counts(increment) == (3, 1, {"damaged_record": 2})
    assert [(lost.path, lost.stopped) for lost in damage(increment)] == [
        ("a.warc.gz", "holds no WARC record, plain or gzipped"),
        ("b.warc", "holds no WARC record, plain or gzipped"),
        ("c.warc", "the file is empty"),
    ]
    assert [row["title"] for row in rows(corpus, increment, "extract")] == ["whole"]
    assert sorted(path.name for path in (increment.path / "pages").iterdir()) == [
        "00002-c.warc",
        "00003-d.warc.gz",
    ]


def test_a_resource_record_is_a_page_and_robots_txt_is_none(tmp_path: Path) -> None:
    given = [
        ("http://a.test/", "text/html", page("resource")),
        ("http://a.test/x.png", "image/png", b"\x89PNG"),
        ("http://b.test/robots.txt", "text/plain", b"User-agent: *"),
        ("dns:b.test", "text/dns", b"20130801 b.test. 1 IN A 192.0.2.1"),
    ]
    with (tmp_path / "x.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for url, kind, body in given:
            dated = {"WARC-Date": "2013-08-01T00:00:00Z"}
            record = writer.create_warc_record(
                url, "resource", BytesIO(body), len(body), kind, warc_headers_dict=dated
            )
            writer.write_record(record)
    robots = [
        ("http://c.test/robots.txt", "20130801120000", 200, {"Content-Type": "text/plain"}, b"Disallow:")
    ]
    write_warc(tmp_path / "y.warc.gz", robots)
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", tmp_path)
    assert counts(increment) == (5, 1, {"wrong_type": 1, "robots_txt": 2, "no_link": 1})
    (row,) = rows(corpus, increment, "extract")
    assert (row["url"], row["title"], row["first_seen"]) == ("http://a.test/", "resource", 1375315200)


def test_what_is_no_warc_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "x.warc.gz").write_bytes(gzip.compress(b"no such thing" * 99))
    corpus = make(tmp_path / "corpus")
    with pytest.raises(DataError, match="holds no WARC record"):
        bring(corpus, "a", tmp_path / "x.warc.gz")


def test_repeated_headers_opt_out_each_by_itself(tmp_path: Path) -> None:
    with (tmp_path / "x.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        head = StatusAndHeaders(
            "200 OK",
            [*HTML.items(), ("X-Robots-Tag", "noai"), ("X-Robots-Tag", "noindex")],
            protocol="HTTP/1.1",
        )
        body = page("two headers")
        writer.write_record(
            writer.create_warc_record(
                "http://a.test/", "response", BytesIO(body), len(body), http_headers=head
            )
        )
    corpus = make(tmp_path / "corpus")
    with pytest.raises(DataError, match="1 opted_out"):
        bring(corpus, "a", tmp_path / "x.warc.gz")


def test_a_page_that_an_archive_has_cut_off_is_counted_and_marked(tmp_path: Path) -> None:
    with (tmp_path / "x.warc.gz").open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for name, why in ("whole", ""), ("long", "length"), ("slow", "time"):
            body = page(name)[: 600 if why else None]
            head = StatusAndHeaders("200 OK", list(HTML.items()), protocol="HTTP/1.1")
            marks = {"WARC-Truncated": why} if why else {}
            writer.write_record(
                writer.create_warc_record(
                    f"http://a.test/{name}",
                    "response",
                    BytesIO(body),
                    len(body),
                    http_headers=head,
                    warc_headers_dict=marks,
                )
            )
    corpus = make(tmp_path / "corpus")
    increment = bring(corpus, "a", tmp_path / "x.warc.gz")
    assert counts(increment) == (3, 3, {})
    assert {row["url"]: row["truncated"] for row in rows(corpus, increment, "fetch")} == {
        "http://a.test/whole": "",
        "http://a.test/long": "length",
        "http://a.test/slow": "time",
    }
    (fetched,) = [stage for stage in funnel(corpus.root) if stage.stage == "fetch"]
    assert (fetched.passed, fetched.truncated) == (3, 2)
    assert "2 of the passed cut off by an archive" in table([fetched])
    found = trace(corpus, "http://a.test/long")
    assert found["fetches"][0]["truncated"] == found["documents"][0]["truncated"] == "length"
    assert trace(corpus, "http://a.test/whole")["documents"][0]["truncated"] == ""
