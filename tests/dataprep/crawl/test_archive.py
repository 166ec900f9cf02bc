"""Dead links asked of a real pywb, which serves a WARC file that the test has made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from dataprep.crawl.archive import admitted, capture, followed_within
from dataprep.crawl.outcomes import NotFetched
from dataprep.crawl.partition import Fetch, Target, fetch_part
from support.servers.pywb import Captures, replaying, write_warc

HTML = {"Content-Type": "text/html; charset=utf-8"}
CAPTURED: Captures = [
    ("http://a.test/", "20130101000000", 200, HTML, b"<p>a, at the start of 2013</p>"),
    ("http://a.test/", "20170601000000", 200, HTML, b"<p>a, in 2017</p>"),
    ("http://a.test/?q=1&r=%20", "20130101000000", 200, HTML, b"<p>the query</p>"),
    ("http://a.test/old", "20130101000000", 301, {"Location": "http://www.a.test/new"}, b""),
    ("http://www.a.test/new", "20130102000000", 200, HTML, b"<p>where a had moved</p>"),
    ("http://a.test/logo", "20130101000000", 200, {"Content-Type": "image/png"}, b"\x89PNG"),
    ("http://b.test/gone", "20130101000000", 404, HTML, b"<p>even then</p>"),
]


@pytest.fixture(scope="module", params=[False, True], ids=["answers at once", "redirects to the nearest"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("archive")
    warc = write_warc(directory / "then.warc.gz", CAPTURED)
    with replaying(directory, warc, redirects=request.param) as url:
        yield url


@pytest.fixture
def ask(archive: str, settings: Any, tmp_path: Path) -> Callable[..., list[Fetch]]:
    """Ask the archive for links of a day."""

    def run(*urls: str, day: str = "20130801") -> list[Fetch]:
        seen = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
        links = [Target(url, url.encode()[-16:].rjust(16), "its.own.site", seen) for url in urls]
        asked = [capture(archive, link) for link in links]
        limits = admitted(settings.model_copy(update={"connect_to": ()}), asked[0].url)
        return fetch_part("archive", asked, tmp_path, limits, lambda _: None)

    return run


def stored(pages: Path, row: Fetch) -> tuple[str, bytes]:
    """Target URI and body of the record that a row points at."""
    with (pages / row.warc_file).open("rb") as file:
        file.seek(row.warc_offset)
        record = next(ArchiveIterator(file))
        return record.rec_headers.get_header("WARC-Target-URI"), record.content_stream().read()


@pytest.mark.slow(5)
@pytest.mark.parametrize(
    ("day", "body"),
    [("20130801", b"<p>a, at the start of 2013</p>"), ("20180801", b"<p>a, in 2017</p>")],
)
def test_the_capture_nearest_to_the_submission_is_fetched(
    ask: Any, archive: str, tmp_path: Path, day: str, body: bytes
) -> None:
    (row,) = ask("http://a.test/", day=day)
    assert (row.url, row.outcome, row.content_type) == ("http://a.test/", "ok", "text/html")
    assert row.final_url.startswith(f"{archive}/20")
    assert row.final_url.endswith("id_/http://a.test/")
    assert stored(tmp_path, row) == (row.final_url, body)


@pytest.mark.slow(3)
def test_the_metadata_says_which_page_it_was(ask: Any, tmp_path: Path) -> None:
    (row,) = ask("http://a.test/?q=1&r=%20")
    assert row.outcome == "ok"
    with (tmp_path / row.warc_file).open("rb") as file:
        texts = [r.content_stream().read() for r in ArchiveIterator(file) if r.rec_type == "metadata"]
    assert texts
    assert all(b"originalUri: http://a.test/?q=1&r=%20\r\n" in text for text in texts)


@pytest.mark.slow(3)
def test_a_redirect_that_was_captured_is_followed_within_the_archive(
    ask: Any, archive: str, tmp_path: Path
) -> None:
    (row,) = ask("http://a.test/old")
    assert row.outcome == "ok"
    assert row.final_url.startswith(f"{archive}/2013")
    assert stored(tmp_path, row)[1] == b"<p>where a had moved</p>"


@pytest.mark.slow(1)
def test_what_the_archive_has_not_or_had_not_is_not_found(ask: Any) -> None:
    rows = ask("http://a.test/never", "http://b.test/gone", "http://a.test/logo", "http://a.test/")
    assert [row.outcome for row in rows] == ["not_found", "not_found", "wrong_type", "ok"]


@pytest.mark.parametrize(
    ("location", "onward"),
    [
        ("http://web.test/all/2014id_/http://a.test/x", "http://web.test/all/2014id_/http://a.test/x"),
        ("/all/2014/http://a.test/x", "http://web.test/all/2014id_/http://a.test/x"),
        ("/all/2014if_/https://b.test/?c#d", "http://web.test/all/2014id_/https://b.test/?c"),
        ("https://web.test/all/2014/http://a.test/", "https://web.test/all/2014id_/http://a.test/"),
        ("http://a.test/y", "http://web.test/all/2013id_/http://a.test/y"),
        ("/y", "http://web.test/all/2013id_/http://a.test/y"),
        ("?z", "http://web.test/all/2013id_/http://a.test/x?z"),
        ("http://169.254.169.254/", "http://web.test/all/2013id_/http://169.254.169.254/"),
        ("http://evil.test/all/2014/http://a.test/", "http://web.test/all/2013id_/http://evil.test/all/2014/http://a.test/"),
    ],
)  # fmt: skip
def test_a_redirect_never_leaves_the_archive(location: str, onward: str) -> None:
    assert followed_within("http://web.test/all/2013id_/http://a.test/x", location) == onward


def test_a_redirect_to_no_page_is_refused() -> None:
    with pytest.raises(NotFetched, match="bad_url"):
        followed_within("http://web.test/all/2013id_/http://a.test/x", "javascript:alert(1)")


def test_the_archive_is_one_site_with_one_pace() -> None:
    links = [Target(f"http://{name}.test/", name.encode() * 16, f"{name}.test", 0) for name in "ab"]
    assert {capture("https://web.test/all/", link).site for link in links} == {"web.test"}
