"""Links are filled from an archive by byte range: the right captures, whole, once, and by polite requests."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Collect, Recipe
from dataprep.crawl.rounds import outcomes
from dataprep.crawl.settings import CrawlSettings
from dataprep.errors import DataError
from dataprep.imports.byte_ranges import Archive
from dataprep.imports.cdx import IndexNotes
from dataprep.imports.rows import Fields
from dataprep.store.files import read_table
from support.ready_corpus import enter_links, no_progress
from support.servers.pywb import write_warc
from support.servers.ranges import serving

HTML = {"Content-Type": "text/html"}
SEEN = int(datetime(2013, 8, 1, tzinfo=UTC).timestamp())
QUICK = CrawlSettings(delay_s=0, backoff_s=0.01, retries=2, site_concurrency=3, max_site_failures=10)


def page(words: str) -> bytes:
    text = "".join(
        f"<p>It was a quiet evening by the harbour, said {words}, the {n}th.</p>" for n in range(9)
    )
    return f"<html><head><title>{words}</title></head><body><article>{text}</article></body></html>".encode()


def archived(
    folder: Path, name: str, captures: list[tuple[str, str, int, dict[str, str], bytes]]
) -> list[str]:
    """Write a WARC file and give its index lines, as Common Crawl spells them."""
    write_warc(folder / name, captures)
    found, ends = [], []
    with (folder / name).open("rb") as file:
        records = ArchiveIterator(file)
        for record in records:
            found.append((records.get_record_offset(), record.rec_headers["WARC-Target-URI"]))
            record.content_stream().read()
            records.read_to_end(record)
            ends.append(records.get_record_offset() + records.get_record_length())
    out = []
    for (offset, url), end, (_, stamp, status, headers, _) in zip(found, ends, captures, strict=True):
        about = {
            "url": url,
            "mime": headers.get("Content-Type", "unk"),
            "status": str(status),
            "digest": "X",
            "length": str(end - offset),
            "offset": str(offset),
            "filename": name,
        }
        out.append(f"test,a)/ {stamp} {json.dumps(about)}")
    return out


def make(root: Path, urls: list[str], partition_mb: float = 256) -> Corpus:
    """A corpus whose only increment has these links, all first seen at the beginning of August 2013."""
    corpus = Corpus.create(root, Recipe(name="cdx", collect=Collect(partition_mb=partition_mb)))
    posts = [{"id": str(n), "url": url, "score": 9, "created_utc": SEEN + n} for n, url in enumerate(urls)]
    dump = root.parent / "dump.json"
    dump.write_text("\n".join(map(json.dumps, posts)))
    enter_links(corpus, "month", [dump])
    return corpus


def fill(corpus: Corpus, index: Path, base: str, settings: CrawlSettings = QUICK) -> Increment:
    archive = Archive(base, settings)
    return ingest.bring(corpus, "month", "cdx", [index], Fields(), archive, 1, no_progress)


def fetched(corpus: Corpus, increment: Increment) -> dict[str, dict[str, Any]]:
    tables = increment.outputs("fetch", "fetches")
    return {row["url"]: row for row in read_table(corpus.root, tables).to_pylist()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "archive" / "crawl data"
    made.mkdir(parents=True)
    return made.parent


def test_the_capture_nearest_after_the_submission_is_taken(folder: Path, tmp_path: Path) -> None:
    captures = [
        ("http://a.test/", "20130601000000", 200, HTML, page("june")),
        ("http://a.test/", "20130731235959", 200, HTML, page("july")),
        ("http://a.test/", "20130803000000", 200, HTML, page("august")),
        ("http://a.test/", "20130802000000", 404, HTML, page("gone for a day")),
        ("http://a.test/", "20130801120000", 200, {"Content-Type": "image/png"}, b"\x89PNG"),
        ("http://a.test/", "20140101000000", 200, HTML, page("next year")),
        ("http://b.test/?utm_source=x", "20120101000000", 200, HTML, page("long before")),
        ("https://b.test/", "20130101000000", 200, HTML, page("before")),
        ("http://c.test/", "20130803000000", 404, HTML, page("gone")),
        ("http://other.test/", "20130803000000", 200, HTML, page("nobody's link")),
    ]
    lines = archived(folder, "crawl data/one.warc.gz", captures)
    index = tmp_path / "index.cdxj.gz"
    index.write_bytes(gzip.compress("\n".join([*lines, "broken", "test,a)/ 2013 {}"]).encode()))
    corpus = make(
        tmp_path / "corpus", ["http://a.test/", "http://b.test/", "http://c.test/", "http://d.test/"]
    )
    with serving(folder) as server:
        increment = fill(corpus, index, server.base)
    assert outcomes(corpus, [increment]) == {"ok": 2, "not_in_archive": 2}
    documents = read_table(corpus.root, increment.outputs("extract", "documents")).to_pylist()
    assert {row["url"]: row["title"] for row in documents} == {
        "http://a.test/": "august",
        "http://b.test/": "before",
    }
    assert {row["karma"] for row in documents} == {9}
    assert sum(server.asked.values()) == 2
    notes = increment.records("fetch")[0].noted(IndexNotes)
    assert (notes.index_lines, notes.damage[0].bad_lines) == (12, 2)
    assert list(problems(corpus)) == []
    assert not list(increment.path.glob("pages/.cdx*"))
    # what was appended is the archive's own member, byte for byte
    (warc,) = increment.path.glob("pages/*.warc.gz")
    members = [
        (folder / "crawl data" / "one.warc.gz").read_bytes()[int(each["offset"]) :][: int(each["length"])]
        for each in (json.loads(line[line.find("{") :]) for line in (lines[2], lines[7]))
    ]
    assert warc.read_bytes() in (members[0] + members[1], members[1] + members[0])


def test_a_line_of_an_index_is_lost_only_by_a_value_that_is_needed(folder: Path, tmp_path: Path) -> None:
    urls = [f"http://a.test/{n}" for n in range(5)]
    lines = archived(folder, "x.warc.gz", [(url, "20130803000000", 200, HTML, page(url)) for url in urls])
    lines[0] = lines[0].replace('"digest": "X"', '"digest": NaN, "charset": "\\ud83d"')
    lines[1] = lines[1].replace('"digest": "X"', '"mime-detected": null')
    lines[2] = lines[2].replace('"digest": "X"', '"timestamp": 1e999')
    lines[3] = lines[3].replace('"offset": "', '"offset": "9999999999999999999')
    lines[4] = " " + lines[4][lines[4].find("{") :]
    index = tmp_path / "index.cdxj"
    index.write_text("\ufeff" + "\n".join(lines))
    corpus = make(tmp_path / "corpus", urls)
    increment = fill(corpus, index, str(folder))
    assert outcomes(corpus, [increment]) == {"ok": 3, "not_in_archive": 2}
    (damage,) = increment.records("fetch")[0].noted(IndexNotes).damage
    assert [example.partition(":")[0] for example in damage.examples] == ["line 4", "line 5"]


def test_a_folder_is_an_archive_and_no_name_leads_out_of_it(folder: Path, tmp_path: Path) -> None:
    lines = archived(folder, "x.warc.gz", [("http://a.test/", "20130803000000", 200, HTML, page("a"))])
    archived(tmp_path, "secret.warc.gz", [("http://b.test/", "20130803000000", 200, HTML, page("b"))])
    lines.append(lines[0].replace("//a.test", "//b.test").replace("x.warc.gz", "../secret.warc.gz"))
    index = tmp_path / "index.cdxj"
    index.write_text("\n".join(lines))
    for number, base in enumerate((str(folder), f"file://{folder}")):
        corpus = make(tmp_path / f"corpus{number}", ["http://a.test/", "http://b.test/"])
        increment = fill(corpus, index, base)
        assert outcomes(corpus, [increment]) == {"ok": 1, "bad_url": 1}
    with pytest.raises(DataError, match="no http or https URL, and no folder"):
        Archive(str(folder / "nothing"), QUICK)
    with pytest.raises(DataError, match="--contact"):
        Archive("https://archive.example.org/", QUICK)


FAULTS = ["503", "cut", "whole", "shifted", "garbled", "close"]
OUTCOME = {"503": "server_error", "cut": "incomplete", "close": "connect_error"}


@pytest.mark.slow(4)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_range_that_fails_is_tried_again_and_then_counted(folder: Path, tmp_path: Path, fault: str) -> None:
    urls = [f"http://a.test/{n}" for n in range(8)]
    captures = [(url, "20130803000000", 200, HTML, page(url)) for url in urls]
    lines = archived(folder, "x.warc.gz", captures)
    offsets = [json.loads(line[line.find("{") :])["offset"] for line in lines]
    index = tmp_path / "index.cdxj"
    index.write_text("\n".join(lines))
    corpus = make(tmp_path / "corpus", urls)
    with serving(folder) as server:
        server.fault = lambda path, offset, times: (
            fault if str(offset) == offsets[3] or (str(offset) == offsets[5] and times == 1) else ""
        )
        increment = fill(corpus, index, server.base)
        assert server.most_at_once <= 3
        tries = (
            (3, 4, 5, 6) if fault == "close" else (3,)
        )  # where a kept connection closes, aiohttp asks again
        assert server.asked["/x.warc.gz", int(offsets[3])] in tries
        assert server.asked["/x.warc.gz", int(offsets[5])] >= 2
    assert outcomes(corpus, [increment]) == {"ok": 7, OUTCOME.get(fault, "bad_capture"): 1}
    assert fetched(corpus, increment)[urls[3]]["warc_file"] == ""
    assert list(problems(corpus)) == []


def test_what_an_index_says_falsely_is_no_page(folder: Path, tmp_path: Path) -> None:
    urls = [f"http://a.test/{n}" for n in range(6)]
    opted = HTML | {"X-Robots-Tag": "noai"}
    captures = [(url, "20130803000000", 200, opted if url.endswith("5") else HTML, page(url)) for url in urls]
    lines = archived(folder, "x.warc.gz", captures)
    entries = [json.loads(line[line.find("{") :]) for line in lines]
    entries[1] |= {name: entries[0][name] for name in ("offset", "length")}  # another page's record
    entries[2]["length"] = str(int(entries[2]["length"]) + int(entries[3]["length"]))  # two records
    entries[3]["offset"] = str(int(entries[3]["offset"]) + 7)
    entries[4]["filename"] = "nothing.warc.gz"
    index = tmp_path / "index.cdxj"
    index.write_text("\n".join(f"a 20130803000000 {json.dumps(entry)}" for entry in entries))
    corpus = make(tmp_path / "corpus", urls)
    with serving(folder) as server:
        increment = fill(corpus, index, server.base)
    found = [fetched(corpus, increment)[url]["outcome"] for url in urls]
    assert found == ["ok", "bad_capture", "bad_capture", "bad_capture", "not_found", "opted_out"]
    assert fetched(corpus, increment)[urls[5]]["detail"] == "X-Robots-Tag: noai"


@pytest.mark.slow(2)
def test_an_archive_that_stops_answering_is_an_error_and_the_next_call_goes_on(
    folder: Path, tmp_path: Path
) -> None:
    urls = [f"http://a.test/{n}" for n in range(30)]
    lines = archived(folder, "x.warc.gz", [(url, "20130803000000", 200, HTML, page(url)) for url in urls])
    index = tmp_path / "index.cdxj"
    index.write_text("\n".join(lines))
    whole, stopped = make(tmp_path / "whole", urls), make(tmp_path / "stopped", urls)
    with serving(folder) as server:
        fill(whole, index, server.base)
        answered: list[int] = []

        def fault(path: str, offset: int, times: int) -> str:
            answered.append(offset)
            return "503" if len(answered) > 10 else ""

        server.fault = fault
        # one at a time: a link that failed just before another was answered would be its own failure
        one_by_one = QUICK.model_copy(update={"site_concurrency": 1})
        with pytest.raises(DataError, match="does not answer"):
            fill(stopped, index, server.base, one_by_one)
        with pytest.raises(DataError, match="to its end first"):
            ingest.add(stopped, "month", [], QUICK, 1, "shard", no_progress, _unwatched)
        server.fault = lambda path, offset, times: ""
        server.asked.clear()
        increment = fill(stopped, index, server.base)
        assert len(server.asked) < 30
    assert outcomes(stopped, [increment]) == {"ok": 30}
    first = {
        path.relative_to(whole.root): path.read_bytes() for path in whole.root.rglob("*") if path.is_file()
    }
    again = {
        path.relative_to(stopped.root): path.read_bytes()
        for path in stopped.root.rglob("*")
        if path.is_file()
    }
    assert first.keys() == again.keys()
    assert [path for path in first if first[path] != again[path]] == []


def test_links_must_be_there_and_not_crawled(tmp_path: Path, folder: Path) -> None:
    index = tmp_path / "index.cdxj"
    index.write_text(
        "\n".join(archived(folder, "x.warc.gz", [("http://a.test/", "20130803000000", 200, HTML, page("a"))]))
    )
    corpus = Corpus.create(tmp_path / "corpus", Recipe(name="cdx"))
    with pytest.raises(DataError, match="add --until links"):
        fill(corpus, index, str(folder))


@pytest.mark.slow(1)
def test_partitions_change_nothing_that_is_fetched(tmp_path: Path, folder: Path) -> None:
    urls = [f"http://a.test/{n}" for n in range(20)]
    lines = archived(folder, "x.warc.gz", [(url, "20130803000000", 200, HTML, page(url)) for url in urls])
    index = tmp_path / "index.cdxj"
    index.write_text("\n".join(lines))
    found = []
    for name, partition_mb in (("one", 256), ("many", 0.001)):
        corpus = make(tmp_path / name, urls, partition_mb)
        increment = fill(corpus, index, str(folder))
        tables = increment.outputs("extract", "documents")
        found.append(sorted(read_table(corpus.root, tables, ["doc_id"])["doc_id"].to_pylist()))
        assert (len(increment.records("fetch")) > 3) == (name == "many")
    assert found[0] == found[1]


def _unwatched(increment: Increment) -> Any:
    raise AssertionError("nothing is crawled")
