"""`corpus add --archive`: what is gone from the web is taken from a real pywb, last or first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dataprep import ingest
from dataprep.audit.verify import problems
from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl.rounds import outcomes
from dataprep.shards.text_shards import read_documents
from dataprep.store.files import read_table
from support.ready_corpus import make_corpus, no_progress
from support.servers.pywb import replaying, write_warc

HTML = {"Content-Type": "text/html"}
POSTED = 1_375_315_200  # 2013-08-01
THEN = "20130801000000"
PAGE = "<html><body><article><p>{0}</p></article></body></html>"
PROSE = "The {0} of the old town is quiet in winter, and the boats lie still under the snow. " * 8


def page(name: str) -> bytes:
    return PAGE.format(PROSE.format(name)).encode()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the archive listens: pywb with what three sites once said."""
    directory = tmp_path_factory.mktemp("archive")
    captures = [(f"http://{name}.test/", THEN, 200, HTML, page(f"former {name}")) for name in "abc"]
    with replaying(directory, write_warc(directory / "then.warc.gz", captures)) as url:
        yield urlsplit(url).port or 80


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "corpus")


Add = Callable[..., Increment]


@pytest.fixture
def add(site: Any, settings: Any, port: int, corpus: Corpus, tmp_path: Path) -> Add:
    """Ingest links of the live web: a.test/ stands, b.test/ is gone, d.test/ was never captured."""
    site.html("http://a.test/", page("present a"))
    urls = ["http://a.test/", "http://b.test/", "http://d.test/"]
    posts = [{"id": url, "url": url, "score": 5, "created_utc": POSTED, "subreddit": "x"} for url in urls]
    dump = tmp_path / "dump.json"
    dump.write_text("\n".join(map(json.dumps, posts)))
    routes = (f"archive.test:80:127.0.0.1:{port}", *settings.connect_to)

    def run(until: str = "fetch", archive: str = "http://archive.test/web", **changes: Any) -> Increment:
        changed = settings.model_copy(update={"archive": archive, "connect_to": routes, **changes})
        return ingest.add(corpus, "one", [dump], changed, 1, until, no_progress, unseen)

    return run


@contextmanager
def unseen(_: Increment) -> Iterator[Callable[[object], None]]:
    yield lambda _: None


def last_rows(corpus: Corpus, increment: Increment) -> dict[str, dict[str, Any]]:
    tables = increment.outputs("fetch", "fetches")
    rows = [row for output in tables for row in read_table(corpus.root, [output]).to_pylist()]
    return {urlsplit(row["url"]).hostname or "": row for row in rows}


@pytest.mark.slow(2)
def test_what_is_gone_is_taken_from_the_archive(site: Any, corpus: Corpus, add: Add) -> None:
    increment = add()
    assert outcomes(corpus, [increment]) == {"ok": 2, "not_found": 1}
    rows = last_rows(corpus, increment)
    assert rows["a.test"]["final_url"] == "http://a.test/"
    assert rows["b.test"]["final_url"] == f"http://archive.test/web/{THEN}id_/http://b.test/"
    assert (rows["b.test"]["site"], rows["b.test"]["url"]) == ("archive.test", "http://b.test/")
    assert "archive: not_found" in rows["d.test"]["detail"]
    assert rows["d.test"]["final_url"] == "http://d.test/"


@pytest.mark.slow(2)
def test_an_archive_that_is_asked_first_spares_the_live_site(site: Any, corpus: Corpus, add: Add) -> None:
    increment = add(archive_first=True)
    assert outcomes(corpus, [increment]) == {"ok": 2, "not_found": 1}
    assert last_rows(corpus, increment)["a.test"]["final_url"].endswith("id_/http://a.test/")
    assert {hit.host for hit in site.hits} == {"d.test"}


@pytest.mark.slow(2)
@pytest.mark.parametrize("archive_first", [False, True])
def test_a_copy_becomes_a_document_of_its_link(corpus: Corpus, add: Add, archive_first: bool) -> None:
    add("shard", archive_first=archive_first)
    documents = [doc for tar in corpus.root.glob("builds/*/*/shard/*.tar") for doc in read_documents(tar)]
    texts = {doc["url"]: doc["text"] for doc in documents}
    assert set(texts) == {"http://a.test/", "http://b.test/"}
    assert "former b" in texts["http://b.test/"]
    assert ("former a" if archive_first else "present a") in texts["http://a.test/"]
    assert list(problems(corpus)) == []


@pytest.mark.slow(2)
@pytest.mark.parametrize("archive_first", [False, True])
@pytest.mark.parametrize("until", ["fetch", "shard"])
def test_a_second_call_without_the_archive_finds_nothing_to_do(
    site: Any, corpus: Corpus, add: Add, archive_first: bool, until: str
) -> None:
    ended = outcomes(corpus, [add(until, archive_first=archive_first)])
    hits = len(site.hits)
    assert outcomes(corpus, [add(until, archive="")]) == ended
    assert len(site.hits) == hits


@pytest.mark.slow(1)
def test_an_archive_that_is_out_of_order_is_worth_another_try(
    settings: Any, corpus: Corpus, add: Add
) -> None:
    increment = add(connect_to=("archive.test:80:127.0.0.1:9", *settings.connect_to))
    assert outcomes(corpus, [increment]) == {"ok": 1, "connect_error": 2}


@pytest.mark.slow(1)
def test_what_a_site_does_not_want_is_not_asked_of_an_archive(site: Any, corpus: Corpus, add: Add) -> None:
    site.html("http://b.test/robots.txt", "User-agent: *\nDisallow: /\n", Content_Type="text/plain")
    assert outcomes(corpus, [add()]) == {"ok": 1, "robots_denied": 1, "not_found": 1}
