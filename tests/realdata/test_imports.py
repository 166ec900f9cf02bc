"""Real pages and books by every kind of import: the same documents, whichever way they came."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warcio.archiveiterator import ArchiveIterator

from dataprep.corpus.directory import Corpus
from dataprep.store.files import read_table
from support.patience import patient
from support.servers.pywb import index_warcs
from support.servers.ranges import serving

pytestmark = pytest.mark.slow(10)

PAGES = 60
NOVELS = ("Barclay_Postern_1911", "Bennet_Helen_1910", "Stevenson_Treasure_1883")
COLUMNS = ["doc_id", "text_key", "karma", "url"]


def outbound(*arguments: object) -> dict[str, Any]:
    """Run a command with --json and give its result."""
    command = [sys.executable, "-m", "pipeline.cli.main", *map(str, arguments), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=patient(900), check=False)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def documents(directory: Path, increment: int = 0) -> list[dict[str, Any]]:
    corpus = Corpus.open(directory)
    outputs = corpus.increments()[increment].outputs("extract", "documents")
    return read_table(corpus.root, outputs, COLUMNS).to_pylist()


@pytest.fixture(scope="module")
def warc(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every 48th record of the real pages, in one WARC file."""
    source = data / "web" / "pages.warc.gz"
    with source.open("rb") as file:
        records = ArchiveIterator(file)
        starts = [records.get_record_offset() for _ in records]
    content = source.read_bytes()
    chosen = tmp_path_factory.mktemp("real") / "archive" / "some.warc.gz"
    chosen.parent.mkdir()
    ends = [*starts[1:], len(content)]
    picked = list(zip(starts, ends, strict=True))[:: len(starts) // PAGES]
    chosen.write_bytes(b"".join(content[start:end] for start, end in picked))
    return chosen


@pytest.fixture(scope="module")
def imported(warc: Path) -> Path:
    directory = warc.parents[1] / "imported"
    outbound("corpus", "init", directory, "--recipe", "openwebtext")
    result = outbound("corpus", "import", directory, warc, "--kind", "warc")
    assert result["damage"] == []
    return directory


@pytest.fixture(scope="module")
def dump(warc: Path) -> Path:
    """Submissions of the same pages."""
    with warc.open("rb") as file:
        urls = [record.rec_headers["WARC-Target-URI"] for record in ArchiveIterator(file)]
    posts = [{"id": str(n), "url": url, "score": 9, "created_utc": n} for n, url in enumerate(urls)]
    path = warc.parents[1] / "dump.json"
    path.write_text("\n".join(map(json.dumps, posts)))
    return path


def test_imported_pages_give_the_documents_that_a_crawl_of_them_gives(
    imported: Path, dump: Path, web: list[str]
) -> None:
    crawled = imported.with_name("crawled")
    outbound("corpus", "init", crawled, "--recipe", "openwebtext")
    outbound("corpus", "add", crawled, dump, "--until", "extract", *web)
    ours, theirs = documents(imported), documents(crawled)
    assert len(theirs) > 0.9 * PAGES
    assert {row["doc_id"] for row in ours} >= {row["doc_id"] for row in theirs}
    assert {row["karma"] for row in ours} == {None}
    assert outbound("corpus", "verify", imported) == {"problems": [], "unknown": []}


def test_links_filled_by_byte_range_are_the_imported_pages(imported: Path, dump: Path, warc: Path) -> None:
    filled = imported.with_name("filled")
    outbound("corpus", "init", filled, "--recipe", "openwebtext")
    outbound("corpus", "add", filled, dump, "--until", "links", "--name", "month")
    index = warc.parents[1] / "index.cdxj"
    index_warcs(index, warc)
    with serving(warc.parent) as server:
        options = ["--kind", "cdx", "--base", server.base, "--delay", 0]
        fetch = outbound("corpus", "import", filled, index, *options)["funnel"][1]
        assert sum(server.asked.values()) == fetch["passed"] == fetch["entered"] > 0.9 * PAGES
    links = {row["url"] for row in documents(filled)}
    ours = {row["doc_id"] for row in documents(imported) if row["url"] in links}
    assert {row["doc_id"] for row in documents(filled)} == ours
    assert {row["karma"] for row in documents(filled)} == {9}
    assert outbound("corpus", "verify", filled) == {"problems": [], "unknown": []}


def test_dumps_are_added_after_an_import_and_what_it_had_does_not_enter_again(
    imported: Path, dump: Path
) -> None:
    counts = outbound("corpus", "add", imported, dump, "--until", "links", "--name", "later")["funnel"][0]
    assert counts["reasons"]["already_entered"] > 0.9 * PAGES
    outbound("corpus", "drop", imported, "later")


def test_books_are_the_same_texts_from_every_kind_of_file(data: Path, tmp_path: Path) -> None:
    files = [data / "text" / "novels" / f"{name}.txt.gz" for name in NOVELS]
    rows = [{"body": gzip.decompress(file.read_bytes()).decode(), "name": file.stem} for file in files]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "books.parquet", row_group_size=1)
    (tmp_path / "books.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    books = tmp_path / "books"
    outbound("corpus", "init", books, "--recipe", "gpt3-books1")
    outbound("corpus", "import", books, *files, "--kind", "text", "--name", "text")
    columns = ["--text-field", "body", "--title-field", "name"]
    for kind, file in (("parquet", "books.parquet"), ("jsonl", "books.jsonl.gz")):
        last = outbound("corpus", "import", books, tmp_path / file, "--kind", kind, "--name", kind, *columns)
    keys = [[row["text_key"] for row in documents(books, increment)] for increment in range(3)]
    assert len(keys[0]) == 3
    assert keys == [keys[0]] * 3
    dedup = next(count for count in last["funnel"] if count["stage"] == "dedup")
    assert (dedup["passed"], dedup["reasons"]) == (3, {"exact_duplicate": 6})
    assert outbound("corpus", "verify", books) == {"problems": [], "unknown": []}
