from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dataprep.crawl.journal import Attempt, Superseded
from dataprep.crawl.partition import Fetch, fetch_part
from support.patience import wait_until


@pytest.fixture
def crawled(site: Any, crawl: Any) -> tuple[list[str], list[Fetch]]:
    """Four pages of one site, of which the last is missing, crawled to the end."""
    urls = [site.html(f"http://a.test/{page}", f"<p>hello {page}</p>") for page in range(3)]
    urls.append("http://a.test/missing")
    return urls, crawl(*urls)


def again(site: Any, crawl: Any, urls: list[str]) -> tuple[list[str], list[str]]:
    """Crawl once more; the outcomes, and the paths that were asked for."""
    before = len(site.hits)
    rows = crawl(*urls)
    return [row.outcome for row in rows], [hit.path for hit in site.hits[before:]]


ENDED = ["ok", "ok", "ok", "not_found"]


def test_a_warc_cut_anywhere_loses_only_the_pages_behind_the_cut(
    site: Any, crawl: Any, crawled: Any, tmp_path: Path
) -> None:
    urls, rows = crawled
    cut = rows[1].warc_offset + rows[1].warc_length // 2
    os.truncate(tmp_path / "pages" / rows[1].warc_file, cut)
    assert again(site, crawl, urls) == (ENDED, ["/robots.txt", "/1", "/2", "/missing"])


@pytest.mark.parametrize("suffix", [".journal", "-00000.warc.gz"])
def test_whatever_byte_a_file_is_cut_at_what_is_adopted_is_whole(
    crawled: Any, tmp_path: Path, suffix: str
) -> None:
    _, rows = crawled
    pages = tmp_path / "pages"
    size = (pages / f"part-0001{suffix}").stat().st_size
    for length in range(0, size, max(1, size // 60)):
        copy = tmp_path / f"cut-{length}"
        shutil.copytree(pages, copy)
        os.truncate(copy / f"part-0001{suffix}", length)
        attempt = Attempt(copy, "part", user_agent="", warc_bytes=1 << 30)
        adopted = attempt.adopt()
        attempt.close()
        assert adopted == rows[: len(adopted)]
        for row in adopted:
            if row.warc_file:
                member = (copy / row.warc_file).read_bytes()[row.warc_offset :][: row.warc_length]
                assert b"hello" in gzip.decompress(member)
        for warc in copy.glob("*.warc.gz"):
            assert gzip.decompress(warc.read_bytes()).count(b"WARC/1.1\r\n") == 1 + 3 * len(
                [row for row in adopted if row.warc_file]
            )


def test_a_half_written_member_without_a_line_is_cut_off(
    site: Any, crawl: Any, crawled: Any, tmp_path: Path
) -> None:
    urls, rows = crawled
    warc = tmp_path / "pages" / rows[0].warc_file
    whole = warc.read_bytes()
    with warc.open("ab") as file:
        file.write(whole[: len(whole) // 3])
    assert again(site, crawl, urls) == (ENDED, [])
    assert warc.read_bytes() == whole


def test_a_torn_journal_line_is_forgotten_with_its_records(
    site: Any, crawl: Any, crawled: Any, tmp_path: Path
) -> None:
    urls, rows = crawled
    journal = tmp_path / "pages" / "part-0001.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    assert again(site, crawl, urls) == (ENDED, ["/robots.txt", "/2", "/missing"])
    assert journal.read_bytes() == b"".join(lines[:2])
    assert (tmp_path / "pages" / rows[0].warc_file).stat().st_size < rows[2].warc_offset


def test_zeros_where_the_last_page_should_be_are_noticed(
    site: Any, crawl: Any, crawled: Any, tmp_path: Path
) -> None:
    urls, rows = crawled
    with (tmp_path / "pages" / rows[2].warc_file).open("r+b") as file:
        file.seek(rows[2].warc_offset)
        file.write(bytes(rows[2].warc_length))
    assert again(site, crawl, urls) == (ENDED, ["/robots.txt", "/2", "/missing"])


def test_a_file_that_no_row_points_into_is_removed(
    site: Any, crawl: Any, crawled: Any, tmp_path: Path
) -> None:
    urls, rows = crawled
    (tmp_path / "pages" / "part-0001.journal").write_bytes(b"")
    assert again(site, crawl, urls)[0] == ENDED
    assert not (tmp_path / "pages" / rows[0].warc_file).exists()


def test_parts_whose_names_begin_alike_leave_each_other_alone(
    site: Any, settings: Any, as_targets: Callable[..., Any], tmp_path: Path
) -> None:
    targets = as_targets(site.html("http://a.test/"))
    for name in ("part", "part-0001", "part"):
        (row,) = fetch_part(name, targets, tmp_path, settings, lambda _: None)
        assert (tmp_path / row.warc_file).exists()


def test_an_older_attempt_stops_when_a_newer_one_has_begun(
    site: Any, settings: Any, as_targets: Callable[..., Any], tmp_path: Path
) -> None:
    targets = as_targets(*[site.html(f"http://a.test/{page}", f"<p>{page}</p>") for page in range(4)])
    with ThreadPoolExecutor(1) as pool:
        newer: list[Future[list[Fetch]]] = []

        def take_over(_: Fetch) -> None:
            newer.append(pool.submit(fetch_part, "part", targets, tmp_path, settings, lambda _: None))
            wait_until((tmp_path / "part-0002.journal").exists, "the journal of the newer attempt")

        with pytest.raises(Superseded, match="has taken over part"):
            fetch_part("part", targets, tmp_path, settings, take_over)
        rows = newer[0].result()
    assert [row.outcome for row in rows] == ["ok"] * 4
    assert len({row.warc_file for row in rows}) == 2
