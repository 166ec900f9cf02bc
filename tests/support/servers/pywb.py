"""A real pywb that serves WARC files on loopback: the archive of tests, and the judge of what we write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

Captures = list[tuple[str, str, int, dict[str, str], bytes]]
"""(URL, timestamp of 14 digits, status, headers, body)"""

SERVER = """
from gevent.monkey import patch_all

patch_all()
from gevent.pywsgi import WSGIServer
from pywb.apps.frontendapp import FrontEndApp
from pywb.utils.geventserver import RequestURIWSGIHandler

server = WSGIServer(("127.0.0.1", 0), FrontEndApp(), handler_class=RequestURIWSGIHandler, log=None)
server.init_socket()
print(server.address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def replaying(directory: Path, *warcs: Path, redirects: bool = False) -> Iterator[str]:
    """Index WARC files by pywb's own indexer and serve them; gives the collection's URL, without a slash.

    redirects: send a request for a date at which nothing was captured on to the nearest capture, as the
    Wayback Machine does, instead of answering with that.
    """
    pytest.importorskip("pywb", reason="pywb (of the dev extra) is not installed")
    archive, indexes = (directory / "collections" / "web" / name for name in ("archive", "indexes"))
    for made in (archive, indexes):
        made.mkdir(parents=True)
    for warc in warcs:
        (archive / warc.name).symlink_to(warc.resolve())
    index_warcs(indexes / "index.cdxj", archive)
    (directory / "config.yaml").write_text(f"redirect_to_exact: {str(redirects).lower()}\n")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=(directory / "log").open("w"),
        text=True,
    )
    with server:
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            assert port, (directory / "log").read_text()
            yield f"http://127.0.0.1:{port}/web"
        finally:
            server.kill()


def index_warcs(index: Path, *inputs: Path) -> list[str]:
    """Write a sorted CDXJ index of WARC files or directories of them; gives its lines."""
    indexer = [sys.executable, "-m", "pywb.indexer.cdxindexer", "-j", "-s", "-o", str(index)]
    ended = subprocess.run([*indexer, *map(str, inputs)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return index.read_text().splitlines()


def write_warc(path: Path, captures: Captures) -> Path:
    """Make a WARC file of captures, for pywb to serve."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for url, stamp, status, headers, body in captures:
            taken = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            length = {"Content-Length": str(len(body))}
            head = StatusAndHeaders(f"{status} -", [*(headers | length).items()], protocol="HTTP/1.1")
            dated = {"WARC-Date": taken.strftime("%Y-%m-%dT%H:%M:%SZ")}
            writer.write_record(
                writer.create_warc_record(
                    url, "response", BytesIO(body), len(body), http_headers=head, warc_headers_dict=dated
                )
            )
    return path
