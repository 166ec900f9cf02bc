"""What was forgotten goes from imported files, too, and no import brings it back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataprep import ingest
from dataprep.audit.funnel import funnel
from dataprep.audit.trace import trace
from dataprep.audit.verify import problems, unknown
from dataprep.corpus.directory import Corpus, Increment
from dataprep.corpus.recipe import Recipe
from dataprep.errors import DataError
from dataprep.forget import run
from dataprep.forget.scope import of_site, of_url
from dataprep.imports import stage as imports
from dataprep.imports.rows import Fields
from dataprep.warc.filler import member
from dataprep.warc.reader import WarcRecord, read_warc, record_in
from support import cli
from support.leaks import contents
from support.ready_corpus import no_progress
from support.servers.pywb import write_warc


def page(mark: str) -> bytes:
    prose = " ".join(
        f"It was a quiet evening by the harbour, said {mark} for the {n}th time." for n in range(9)
    )
    return f"<html><body><article><p>{prose}</p></article></body></html>".encode()


def capture(url: str, body: bytes) -> tuple[str, str, int, dict[str, str], bytes]:
    return url, "20130801000000", 200, {"Content-Type": "text/html"}, body


def bring(corpus: Corpus, name: str, kind: str, path: Path) -> Increment:
    increment = ingest.bring(corpus, name, kind, [path], Fields(), None, 1, no_progress)
    ingest.extend(corpus, 1, no_progress)
    return increment


def where(corpus: Corpus, mark: str) -> set[str]:
    return {path.suffix for path, data in contents(corpus.root) if mark.encode() in data}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A WARC file of three pages, of which one is there twice, and a JSON file of two texts."""
    made = Corpus.create(tmp_path / "corpus", Recipe(name="imports"))
    captures = [("http://a.test/x", "xyzzyx"), ("http://b.test/y", "xyzzyy"), ("http://a.test/x", "xyzzyx2")]
    write_warc(tmp_path / "pages.warc.gz", [capture(url, page(mark)) for url, mark in captures])
    bring(made, "pages", "warc", tmp_path / "pages.warc.gz")
    texts = [{"text": f"{mark} sailed the sea " * 9} for mark in ("xyzzyp", "xyzzyq")]
    (tmp_path / "books.jsonl").write_text("\n".join(map(json.dumps, texts)))
    bring(made, "books", "jsonl", tmp_path / "books.jsonl")
    return made


def forget(corpus: Corpus, what: str) -> None:
    run.begin(corpus, of_url(corpus, what) if ":" in what else of_site(corpus, what))
    run.finish(corpus, lambda _: None)
    assert list(problems(corpus)) == []
    assert unknown(corpus) == []


def test_what_was_dropped_before_keeps_its_reason_so_that_every_count_stands(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"name": "imports", "select": {"min_words": 9}})
    corpus = Corpus.create(tmp_path / "corpus", recipe)
    texts = [{"text": "too short"}, {"text": "xyzzyp sailed the sea " * 9}]
    (tmp_path / "books.jsonl").write_text("\n".join(map(json.dumps, texts)))
    bring(corpus, "books", "jsonl", tmp_path / "books.jsonl")

    def counted(stage: str) -> tuple[int, dict[str, int]]:
        (count,) = [count for count in funnel(corpus.root) if count.stage == stage]
        return count.passed, count.reasons

    dropped, kept = counted("select"), counted("dedup")
    assert dropped == (1, {"min_words": 1})
    for line in (1, 2):
        forget(corpus, f"file:books.jsonl#{line}")
        assert (counted("select"), counted("dedup")) == (dropped, kept)
    assert counted("forget") == (0, {"forgotten": 1})


@pytest.mark.slow(1)
def test_a_forget_reports_how_much_of_it_was_there(corpus: Corpus) -> None:
    def first_line(*words: str) -> str:
        ended = cli.run("corpus", "forget", corpus.root, *words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()[0]

    assert first_line("--site", "a.test") == "forgotten, and kept out: 1 links, 1 documents"
    for words in (["--url", "http://c.test/"], ["--submission", "zzz"], ["--site", "c.test", "--ahead"]):
        assert first_line(*words) == "nothing of it is in this corpus; it is kept out from now on"
    assert first_line("--site", "c.test") == "nothing new"


def test_every_capture_of_a_url_goes_and_the_imported_file_is_left_alone(
    corpus: Corpus, tmp_path: Path
) -> None:
    theirs = tmp_path / "pages.warc.gz"
    before = theirs.read_bytes()
    ours = next(corpus.root.glob("increments/*/pages/*.warc.gz"))
    assert ours.samefile(theirs)  # another name of the same bytes
    assert where(corpus, "xyzzyx") == {".gz", ".parquet", ".tar"}
    forget(corpus, "http://a.test/x")
    assert where(corpus, "xyzzyx") == set()
    assert where(corpus, "xyzzyy") == {".gz", ".parquet", ".tar"}
    assert theirs.read_bytes() == before
    assert ours.stat().st_size == len(before)


@pytest.mark.slow(1)
def test_a_warc_file_of_any_name_loses_it(corpus: Corpus, tmp_path: Path) -> None:
    """In folders only is a WARC file known by its name; one that is given may have any."""
    path = write_warc(tmp_path / "crawl.gz", [capture("http://a.test/z", page("xyzzyz"))])
    bring(corpus, "nameless", "warc", path)
    assert where(corpus, "xyzzyz") == {".gz", ".parquet", ".tar"}
    forget(corpus, "http://a.test/z")
    assert where(corpus, "xyzzyz") == set()


def test_a_row_of_a_file_is_named_by_its_place(corpus: Corpus) -> None:
    assert trace(corpus, "file:books.jsonl#1")["documents"][0]["verdict"] == "kept"
    forget(corpus, "file:books.jsonl#1")
    assert (where(corpus, "xyzzyp"), where(corpus, "xyzzyq")) == (set(), {".parquet", ".tar"})
    assert trace(corpus, "file:books.jsonl#1")["documents"][0]["verdict"] == "forgotten"


@pytest.mark.slow(1)
def test_it_does_not_come_back_in_another_file(corpus: Corpus, tmp_path: Path) -> None:
    forget(corpus, "a.test")
    again = tmp_path / "again.warc.gz"
    pages = [capture(f"http://a.test/{n}", page(f"plugh{n}")) for n in range(3)]
    write_warc(again, [*pages, capture("http://c.test/", page("plughc"))])
    increment = bring(corpus, "again", "warc", again)
    assert [part.reasons for part in increment.parts("links") if part.reasons] == [{"forgotten": 3}]
    assert where(corpus, "plugh0") == set()
    assert where(corpus, "plughc") == {".gz", ".parquet", ".tar"}
    rows = [
        {"text": "plover sailed " * 9, "url": "http://a.test/book"},
        {"text": "plugh sailed the sea " * 9},
    ]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, rows)))
    bring(corpus, "more", "jsonl", tmp_path / "more.jsonl")
    assert where(corpus, "plover") == set()
    assert list(problems(corpus)) == []


@pytest.mark.parametrize("length", [156, 157, 200, 1000, 65_700, 65_701, 65_702, 131_300, 1 << 20])
def test_a_filler_has_any_length_and_every_reader_takes_it(length: int, tmp_path: Path) -> None:
    from fastwarc.warc import ArchiveIterator as Fast
    from warcio.archiveiterator import ArchiveIterator

    one, other = (member(length, bytes([number]) * 16) for number in (1, 2))
    assert (len(one), record_in(one).kind) == (length, "metadata")
    path = tmp_path / "filled.warc.gz"
    path.write_bytes(one + other)
    with path.open("rb") as file:
        records = ArchiveIterator(file, check_digests="raise")
        found = [(records.get_record_offset(), record.rec_type) for record in records]
    assert found == [(0, "metadata"), (length, "metadata")]
    with path.open("rb") as file:
        assert len(list(Fast(file))) == 2
    places = [(each.offset, each.length) for each in read_warc(path) if isinstance(each, WarcRecord)]
    assert places == [(0, length), (length, length)]


@pytest.mark.slow(1)
def test_an_import_that_is_half_read_is_finished_first(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    books = tmp_path / "more.jsonl"
    books.write_text(json.dumps({"text": "xyzzyr sailed the sea " * 9, "url": "http://c.test/r"}))
    monkeypatch.setattr(imports, "finish_led", dies)
    with pytest.raises(KeyboardInterrupt):
        bring(corpus, "more", "jsonl", books)
    monkeypatch.undo()
    with pytest.raises(
        DataError, match=r"0003-more: its files are being read; run its `outbound corpus import`"
    ):
        forget(corpus, "http://c.test/r")
    bring(corpus, "more", "jsonl", books)
    forget(corpus, "http://c.test/r")
    assert where(corpus, "xyzzyr") == set()
