"""What we write, judged by others: warcio checks it, fastwarc reads it whole, pywb indexes and replays it."""

from __future__ import annotations

import gzip
import subprocess
import sys
import urllib.request
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.servers.pywb import index_warcs, replaying

BODIES = {
    "http://a.test/": b"<p>plain</p>",
    "http://a.test/?q=1&r=a%20b": b"<p>with a query</p>",
    "http://a.test/empty": b"",
    "http://b.test/bytes": bytes(range(256)) * 100,
    "http://b.test/caf%C3%A9": "<p>é</p>".encode("latin-1"),
}
PACKED = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.fixture
def pages(site: Any, crawl: Any, tmp_path: Path) -> Path:
    """A crawl's WARC files: plain, chunked and compressed pages, a redirect, repeated bytes."""
    for url, body in BODIES.items():
        site.html(url, body)
        for encoding, pack in PACKED.items():
            site.html(f"{url}{'&' if '?' in url else '?'}{encoding}", pack(body), Content_Encoding=encoding)

    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html", "X-Name": "Zoë"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"<p>chunk</p>")
        return response

    site.serve("http://b.test/chunked", chunked)
    site.status("http://b.test/old", 301, Location="/chunked")
    site.html("http://a.test/again", BODIES["http://a.test/"])
    crawl(*[f"http://{host}{path}" for host, path in site.pages if path != "/chunked"], max_warc_bytes=6000)
    assert len(files(tmp_path / "pages")) > 2
    return tmp_path / "pages"


def files(pages: Path) -> list[Path]:
    return sorted(pages.glob("*.warc.gz"))


def served() -> dict[str, bytes]:
    """What the server sends for each address, decoded."""
    sent = {"http://b.test/chunked": b"<p>chunk</p>" * 3, "http://a.test/again": BODIES["http://a.test/"]}
    for url, body in BODIES.items():
        joined = "&" if "?" in url else "?"
        sent |= {url: body} | {f"{url}{joined}{encoding}": body for encoding in PACKED}
    return sent


def test_warcio_finds_nothing_wrong(pages: Path) -> None:
    command = [sys.executable, "-m", "warcio.cli", "check", "-v", *map(str, files(pages))]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "digest pass" in checked.stdout


def test_fastwarc_reads_every_record_and_every_digest_is_right(pages: Path) -> None:
    fastwarc = pytest.importorskip("fastwarc", reason="fastwarc (of the dev extra) is not installed")
    kinds: Counter[str] = Counter()
    for path in files(pages):
        with path.open("rb") as file:
            for record in fastwarc.ArchiveIterator(file, parse_http=True):
                kinds[record.headers["WARC-Type"]] += 1
                if record.headers["WARC-Type"] == "response":
                    assert record.verify_payload_digest(), record.headers["WARC-Target-URI"]
    assert kinds["warcinfo"] == len(files(pages))
    assert kinds["request"] == kinds["metadata"] == kinds["response"] + kinds["revisit"]
    assert kinds["response"] + kinds["revisit"] == len(served()) + 1  # and the redirect


def test_pywb_indexes_every_page_at_its_place(pages: Path, tmp_path: Path) -> None:
    lines = index_warcs(tmp_path / "index.cdxj", pages)
    assert len(lines) == len(served()) + 1
    assert sum('"status": "200"' in line or "revisit" in line for line in lines) == len(served())


@pytest.mark.slow(2)
def test_pywb_replays_the_bytes_that_the_server_sent(pages: Path, tmp_path: Path) -> None:
    with replaying(tmp_path / "replay", *files(pages)) as archive:
        for url, body in served().items():
            with urllib.request.urlopen(f"{archive}/id_/{url}") as answer:
                content, encoding = answer.read(), answer.headers["Content-Encoding"]
            assert unpacked(content, encoding) == body, url


def unpacked(content: bytes, encoding: str | None) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(content)
        case "deflate":
            return zlib.decompress(content)
        case _:
            return content
