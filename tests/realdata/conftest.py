"""The real inputs beside the checkout, and the real pages behind a loopback server."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web as http
from warcio.archiveiterator import ArchiveIterator

from dataprep.corpus.urls import canonical

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the real data (../shared/data) is not on this machine")
    return DATA


@pytest.fixture(scope="session")
def web(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Every page of pages.warc.gz under its own host name, over HTTP and HTTPS on loopback.

    Gives the options with which `outbound corpus add` finds them there.
    """
    pages: dict[bytes, tuple[str, bytes]] = {}
    hosts: set[str] = set()
    with (data / "web" / "pages.warc.gz").open("rb") as file:
        for record in ArchiveIterator(file):
            url = record.rec_headers.get_header("WARC-Target-URI")
            type_ = record.http_headers.get_header("Content-Type")
            pages[canonical(url).key] = (type_, record.content_stream().read())
            hosts.add(url.split("/")[2].split(":")[0])

    async def page(request: http.Request) -> http.Response:
        found = pages.get(canonical(f"{request.scheme}://{request.host}{request.raw_path}").key)
        if found is None:
            return http.Response(status=404)
        return http.Response(body=found[1], headers={"Content-Type": found[0]})

    authority = trustme.CA()
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*sorted(hosts)).configure_cert(tls)

    loop = asyncio.new_event_loop()
    ports: list[int] = []

    async def start() -> http.AppRunner:
        app = http.Application()
        app.router.add_route("GET", "/{path:.*}", page)
        runner = http.AppRunner(app)
        await runner.setup()
        for context in (None, tls):
            site = http.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
            await site.start()
            ports.append(runner.addresses[-1][1])
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    plain, secure = ports
    yield [
        "--allow-loopback",
        f"--connect-to=:80:127.0.0.1:{plain}",
        f"--connect-to=:443:127.0.0.1:{secure}",
        f"--ca-file={ca_file}",
        "--contact=tests@example.org",
        "--delay=0",
    ]
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
