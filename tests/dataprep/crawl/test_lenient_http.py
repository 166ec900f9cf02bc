"""Habits of real servers that browsers forgive: each page is fetched, archived and read back whole."""

from __future__ import annotations

import asyncio
import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataprep.crawl.client import Client, Exchange
from dataprep.crawl.connect import tls_context
from dataprep.crawl.partition import CrawlSettings, Fetch, fetch_part
from dataprep.crawl.warc_writer import records
from dataprep.extract.page import read_page
from dataprep.warc.http_response import HEAD_BYTES, head_end, parse
from dataprep.warc.reader import WarcRecord, read_warc, record_in
from support.crawls import loopback, targets
from support.patience import patient
from support.servers.habits import HTML, OK, PAGE, PAGES, ROBOTS, chunks, listening, sent

CUTS: dict[int, Any] = {0: (), 3: pytest.mark.slow(8)}
"""How many bytes the server sends at once, 0 for all; and the mark of such tests."""
STEPS = [pytest.param(step, marks=mark) for step, mark in CUTS.items()]
LONG = 10_000
"""Bytes of an answer that is too long to be sent in small pieces."""
TAKEN = frozenset(
    "http-1.0 http-0.9 http-2.0 status-alone no-value no-space-after-colon space-before-colon-of-length "
    "space-before-colon-of-chunked".split()
)
"""Odd heads that aiohttp's parser takes as they are."""
ODD = [name for name in PAGES if re.match("http-|no-|status-|.*(colon-of|-in-name|colon$)", name)]


@dataclass(frozen=True)
class Fetched:
    """What all habits brought, by host."""

    pages: dict[str, Exchange]
    requests: Counter[tuple[str, str]]


def settings(port: int) -> CrawlSettings:
    return loopback(port, site_concurrency=1, read_timeout_s=patient(5), total_timeout_s=patient(20))


def crawl(pages: Path, port: int, hosts: Iterable[str], *paths: str) -> list[Fetch]:
    """Fetch one page of each host, or some pages, one after the other."""
    urls = [f"http://{host}.test/{path}" for host in hosts for path in paths or ("page",)]
    return fetch_part("part", targets(*urls), pages, settings(port), lambda _: None)


def hosts_of(step: int) -> list[str]:
    """The hosts whose page a server can send in pieces of `step` bytes; 0: in one piece."""
    return [host for host, answer in PAGES.items() if not step or len(answer) < LONG]


def each(hosts: Collection[str]) -> pytest.MarkDecorator:
    """A test of each of these hosts' pages, sent in one piece and, unless it is long, in small ones."""
    cases = [
        pytest.param(step, host, marks=mark)
        for step, mark in CUTS.items()
        for host in hosts_of(step)
        if host in hosts
    ]
    return pytest.mark.parametrize(("step", "host"), cases)


@functools.cache
def fetched(step: int) -> Fetched:
    """What was fetched, once for all tests, from a server that sends `step` bytes at a time."""
    hosts = hosts_of(step)

    async def fetch(port: int) -> list[Exchange]:
        async with Client(settings(port), tls_context(None)) as client:
            return await asyncio.gather(*[client.page(f"http://{host}.test/page") for host in hosts])

    with listening(PAGES, step=step) as seen:
        return Fetched(dict(zip(hosts, asyncio.run(fetch(seen.port)), strict=True)), seen.requests)


@each(PAGES)
def test_a_servers_habit_loses_no_page(step: int, host: str, tmp_path: Path) -> None:
    exchange = fetched(step).pages[host]
    assert (exchange.status, exchange.truncated, exchange.location) == (200, False, "")
    assert exchange.content_type == ("application/xhtml+xml" if host == "type-xhtml" else "text/html")
    archived = records([exchange])
    (tmp_path / "a.warc.gz").write_bytes(archived.members)
    page = read_page(tmp_path / "a.warc.gz", archived.response_offset, archived.response_length, 10_000)
    assert page.body.strip() == PAGE
    assert fetched(step).requests[host, "/page"] == 1


@each([name for name in ODD if name not in TAKEN])
def test_an_odd_head_is_archived_as_it_was_received(step: int, host: str) -> None:
    exchange = fetched(step).pages[host]
    answer = PAGES[host].lstrip(b"\r\n")
    head = answer[: head_end(answer)].replace(b"Transfer-Encoding", b"X-Crawler-Transfer-Encoding")
    archived = records([exchange])
    block = record_in(archived.members[archived.response_offset :][: archived.response_length]).block
    assert block == head + exchange.body


@pytest.mark.parametrize("step", STEPS)
def test_a_habit_in_robots_txt_loses_no_site(tmp_path: Path, step: int) -> None:
    with listening(PAGES, ROBOTS, step) as seen:
        rows = crawl(tmp_path, seen.port, ROBOTS)
    assert {row.site: row.outcome for row in rows} == {f"{host}.test": "ok" for host in ROBOTS}


def test_a_rule_of_an_odd_robots_txt_is_kept(tmp_path: Path) -> None:
    with listening(PAGES, ROBOTS) as seen:
        rows = crawl(tmp_path, seen.port, ROBOTS, "private/page")
    assert Counter(row.outcome for row in rows) == {"robots_denied": len(ROBOTS)}
    assert not any(path.startswith("/private") for _, path in seen.requests)


FORGED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nforged"
SMUGGLING = {
    "odd-then-more": OK + HTML + b"A : b\r\nContent-Length: 4\r\n\r\n<p>a" + FORGED,
    "chunked-then-more": OK
    + HTML
    + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunks(b"<p>a")
    + FORGED,
    "length-then-more": OK + HTML + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\n<p>a" + FORGED,
}
UNCLEAR = {
    "lengths-differ": sent(b"A : b\r\nContent-Length: 3\r\n"),
    "lengths-differ-in-one": sent(length=b"A : b\r\nContent-Length: 944, 3\r\n"),
    "length-signed": sent(length=b"A : b\r\nContent-Length: +944\r\n"),
    "length-hex": sent(length=b"A : b\r\nContent-Length: 0x3b0\r\n"),
    "length-folded": sent(length=b"A : b\r\nContent-Length: 94\r\n 4\r\n"),
    "zero-byte": sent(b"A : b\r\nX-Nul: a\0b\r\n"),
    "no-status": sent(status=b"HTTP/1.1 OK\r\n"),
    "another-protocol": b"220 mail.test ESMTP : ready\r\n\r\n",
    "head-too-large": sent(b"A : b\r\n" + (b"X: " + b"x" * 1000 + b"\r\n") * 300),
    "header-too-large": sent(b"X: " + b"x" * (HEAD_BYTES + 10) + b"\r\n"),
    "upgrade": b"HTTP/1.1 101 Switching\r\nA : b\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("step", STEPS)
def test_what_follows_an_odd_answer_is_nobodys_answer(tmp_path: Path, step: int) -> None:
    """One page after the other: nothing that comes behind a page becomes the next."""
    with listening(SMUGGLING, step=step) as seen:
        rows = crawl(tmp_path, seen.port, SMUGGLING, "one", "two", "three")
    assert Counter(row.outcome for row in rows) == {"ok": len(rows)}
    assert {key for key in seen.requests if not key[1].startswith(("/robots", "/.well"))} == {
        (host, f"/{path}") for host in SMUGGLING for path in ("one", "two", "three")
    }
    for found in read_warc(next(tmp_path.glob("*.warc.gz"))):
        assert isinstance(found, WarcRecord)
        if found.kind == "response":
            assert parse(found.block).body == b"<p>a"


@pytest.mark.parametrize("step", [0, 999])
def test_what_is_unclear_is_refused(tmp_path: Path, step: int) -> None:
    with listening(UNCLEAR, step=step) as seen:
        rows = crawl(tmp_path, seen.port, UNCLEAR)
    assert {row.site: row.outcome for row in rows} == {f"{host}.test": "bad_http" for host in UNCLEAR}


def test_a_connection_is_used_again_after_a_good_answer_and_closed_after_an_odd_one(tmp_path: Path) -> None:
    length = b"Content-Length: %d\r\n\r\n" % len(PAGE)
    for odd, right in (b"", 4), (b"A : b\r\n", 2):  # robots.txt and tdmrep.json come first, and are good
        with listening({"host": OK + HTML + odd + length + PAGE}) as seen:
            rows = crawl(tmp_path / str(right), seen.port, ["host"], "one", "two", "three")
        assert {row.outcome for row in rows} == {"ok"}
        assert len(seen.reused) == right


@hypothesis_settings(max_examples=8, deadline=None)
@given(step=st.integers(1, 300))
def test_a_large_odd_answer_is_the_same_however_the_network_cuts_it(
    step: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = PAGE * 200
    answer = sent(b"A : b\r\nTransfer-Encoding: chunked\r\n", body=chunks(body, many=step * 40), length=b"")
    with listening({"odd": answer}, step=step * 97) as seen:
        pages = tmp_path_factory.mktemp("odd")
        (row,) = crawl(pages, seen.port, ["odd"])
    assert row.outcome == "ok"
    assert read_page(pages / row.warc_file, row.warc_offset, row.warc_length, 1_000_000).body == body


def test_a_body_that_breaks_off_behind_an_odd_head_is_incomplete(tmp_path: Path) -> None:
    answers = {
        "length": sent(b"A : b\r\n")[:-1],
        "chunked": sent(b"A : b\r\nTransfer-Encoding: chunked\r\n", body=chunks(end=b""), length=b""),
        "chunk": sent(b"A : b\r\nTransfer-Encoding: chunked\r\n", body=chunks(size=b"x%x\r\n"), length=b""),
    }
    with listening(answers) as seen:
        rows = crawl(tmp_path, seen.port, answers)
    assert {row.outcome for row in rows} == {"incomplete"}
