"""Real pages that are gone from the web, taken from a real pywb that holds them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from dataprep.corpus.urls import canonical
from dataprep.crawl.archive import admitted, capture
from dataprep.crawl.partition import CrawlSettings, Target, fetch_part
from support.servers.pywb import replaying

pytestmark = pytest.mark.slow(10)

SAMPLE = 150
"""Pages that are asked for; pywb answers some fifty a second."""


@pytest.fixture(scope="module")
def archive(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with replaying(tmp_path_factory.mktemp("archive"), data / "web" / "pages.warc.gz") as url:
        yield url


@pytest.fixture(scope="module")
def captured(data: Path) -> dict[str, bytes]:
    """A sample of the pages: URL and body."""
    with (data / "web" / "pages.warc.gz").open("rb") as file:
        pages = {
            record.rec_headers.get_header("WARC-Target-URI"): record.content_stream().read()
            for record in ArchiveIterator(file)
            if record.rec_type == "response"
        }
    return {url: pages[url] for url in random.Random(0).sample(sorted(pages), SAMPLE)}


def test_dead_links_are_read_from_an_archive_of_real_pages(
    archive: str, captured: dict[str, bytes], tmp_path: Path
) -> None:
    links = [Target(url, canonical(url).key, canonical(url).site, 1_375_315_200) for url in captured]
    asked = [capture(archive, link) for link in links]
    settings = CrawlSettings(allow_loopback=True, delay_s=0, site_concurrency=2)
    rows = fetch_part("archive", asked, tmp_path, admitted(settings, asked[0].url), lambda _: None)
    lost = [(row.url, row.outcome, row.detail) for row in rows if row.outcome != "ok"]
    assert lost == []
    for row in rows:
        if row.outcome == "ok":
            assert row.final_url == f"{archive}/20130801000000id_/{row.url}"
            with (tmp_path / row.warc_file).open("rb") as file:
                file.seek(row.warc_offset)
                assert next(ArchiveIterator(file)).content_stream().read() == captured[row.url], row.url
