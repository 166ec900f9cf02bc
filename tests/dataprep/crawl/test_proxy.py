"""Through a proxy: a small real one on loopback, which writes down what it is asked."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from support.patience import patient


class Proxy:
    """Forwards `GET http://...` and tunnels `CONNECT host:port`; every host is found at `port` of loopback.

    refuse: a status line with which every request is answered instead.
    """

    def __init__(self, port: int) -> None:
        self.to_port = port
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.refuse = ""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()

        def run() -> None:
            async def start() -> None:
                server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
                self.port = server.sockets[0].getsockname()[1]
                ready.set()

            self._loop.run_until_complete(start())
            self._loop.run_forever()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(patient())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(patient())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            line, _, headers = head.partition(b"\r\n")
            method, target, version = line.split()
            self.asked.append(f"{method.decode()} {target.decode()}")
            if self.refuse:
                writer.write(
                    f"HTTP/1.1 {self.refuse}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
            else:
                there_reader, there = await asyncio.open_connection("127.0.0.1", self.to_port)
                if method == b"CONNECT":
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    path = b"/" + target.partition(b"://")[2].partition(b"/")[2]
                    there.write(b"%s %s %s\r\nConnection: close\r\n%s" % (method, path, version, headers))
                await asyncio.gather(_pour(reader, there), _pour(there_reader, writer))
        with suppress(OSError):
            writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof() if writer.can_write_eof() else writer.close()


@pytest.fixture
def proxy(site: Any) -> Iterator[Proxy]:
    running = Proxy(site.port)
    yield running
    running.close()


PUBLIC = {"connect_to": (), "contact": "crawl@example.com", "allow_loopback": False}


def test_http_goes_through_the_proxy_which_finds_the_host(site: Any, crawl: Any, proxy: Proxy) -> None:
    (row,) = crawl(site.html("http://a.test/1?x=%41"), proxy=f"http://127.0.0.1:{proxy.port}", **PUBLIC)
    assert row.outcome == "ok"
    assert "GET http://a.test/1?x=%41" in proxy.asked
    assert {hit.host for hit in site.hits} == {"a.test"}


def test_the_proxys_password_is_sent_to_the_proxy_and_archived_nowhere(
    site: Any, crawl: Any, proxy: Proxy, tmp_path: Path
) -> None:
    url = site.html("http://a.test/1")
    (row,) = crawl(url, proxy=f"http://name:secret@127.0.0.1:{proxy.port}", **PUBLIC)
    assert row.outcome == "ok"
    credentials = b64encode(b"name:secret")
    assert all(b"Proxy-Authorization: Basic " + credentials in head for head in proxy.heads)
    (warc,) = (tmp_path / "pages").glob("*.warc.gz")
    archived = gzip.decompress(warc.read_bytes())
    assert b"GET /1 HTTP/1.1" in archived
    assert credentials not in archived


def test_https_is_tunnelled_and_verified_by_the_name_in_the_url(
    serve_tls: Any, crawl: Any, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test").configure_cert(context)
    with serve_tls(context) as site:
        proxy = Proxy(site.port)
        urls = [site.html("https://a.test/"), site.html("https://b.test/")]
        settings = {"proxy": f"http://127.0.0.1:{proxy.port}", "ca_file": tmp_path / "ca.pem", **PUBLIC}
        rows = crawl(*urls, **settings)
        proxy.close()
    assert [row.outcome for row in rows] == ["ok", "tls_error"]
    assert {"CONNECT a.test:443", "CONNECT b.test:443"} == set(proxy.asked)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[::ffff:7f00:1]/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://localhost/",
    ],
)
def test_a_host_whose_spelling_points_inward_is_not_even_asked_for(
    crawl: Any, proxy: Proxy, url: str
) -> None:
    (row,) = crawl(url, proxy=f"http://127.0.0.1:{proxy.port}", **PUBLIC)
    assert row.outcome == "refused_address"
    assert proxy.asked == []


def test_without_a_contact_address_no_proxy_opens_the_public_web(site: Any, crawl: Any, proxy: Proxy) -> None:
    site.status("http://x.localhost/", 302, Location="http://sub.public.test/")
    through = {"proxy": f"http://127.0.0.1:{proxy.port}", "connect_to": ()}
    (row,) = crawl("http://x.localhost/", **through)
    assert row.outcome == "moved"
    assert not [line for line in proxy.asked if "public" in line]


@pytest.mark.parametrize("refusal", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_what_the_proxy_refuses_is_worth_another_try(
    site: Any, crawl: Any, proxy: Proxy, refusal: str
) -> None:
    proxy.refuse = refusal
    through = {"proxy": f"http://127.0.0.1:{proxy.port}", **PUBLIC}
    rows = crawl(site.html("http://a.test/"), "https://a.test/", **through)
    plain = "proxy_error" if refusal.startswith("407") else "robots_unavailable"
    assert [row.outcome for row in rows] == [plain, "proxy_error"]


def test_a_proxy_that_is_not_there_is_named(site: Any, crawl: Any) -> None:
    (row,) = crawl(site.html("http://a.test/"), proxy="http://127.0.0.1:1", **PUBLIC)
    assert row.outcome == "proxy_error"
