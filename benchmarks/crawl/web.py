"""A web of generated pages on loopback, quick enough never to be what a crawler waits for.

Run as a process of its own: `python web.py PAGES MEDIAN_BYTES [WARC]` prints its port and serves until its
standard input ends; with a WARC file its pages are those of the file. Every response is made beforehand, and
the same in every run.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from dataprep.warc.http_response import parse
from dataprep.warc.reader import WarcRecord, read_warc

HEADERS = (
    b"Date: Thu, 01 Aug 2013 12:00:00 GMT\r\n"
    b"Server: Apache/2.4.6 (Unix)\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Connection: keep-alive\r\n"
    b"Cache-Control: public, max-age=600\r\n"
    b'ETag: "5f3b-4e2a1c"\r\n'
    b"Last-Modified: Wed, 31 Jul 2013 08:15:42 GMT\r\n"
    b"Vary: Accept-Encoding, Cookie\r\n"
    b"Set-Cookie: session=0123456789abcdef; path=/; HttpOnly\r\n"
    b"X-Frame-Options: SAMEORIGIN\r\n"
)
CHUNK = 8192
ROBOTS = b"User-agent: *\nDisallow: /private/\nDisallow: /search\nAllow: /\n"
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Page %d</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="index, follow"><meta property="og:type" content="article">
<meta name="description" content="A page that was made to be fetched">
<link rel="stylesheet" href="/style.css"><script src="/main.js" defer></script></head><body>
"""
_DICE = random.Random(0)
WORDS = ["".join(_DICE.choices("etasihrdlucmfwyp", k=_DICE.randint(2, 10))) for _ in range(1500)]
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def page(number: int, median_bytes: int) -> bytes:
    """HTML of words and markup; lengths are log-normal with sigma 1, as those of real pages are, about."""
    chosen = random.Random(number)
    length = min(int(chosen.lognormvariate(0, 1) * median_bytes), 2 << 20)
    parts, size = [HEAD % number], 0
    while size < length:
        text = " ".join(chosen.choices(WORDS, k=60))
        href = f"/archive/{chosen.randint(1, 10**6)}"
        parts.append(f'<div class="entry"><h2>{text[:40]}</h2><p>{text}</p><a href="{href}">more</a></div>\n')
        size += len(parts[-1])
    return "".join([*parts, "</body></html>"]).encode()


def real(warc: Path, pages: int) -> list[bytes]:
    """So many pages of a WARC file, taken evenly."""
    records = [piece for piece in read_warc(warc) if isinstance(piece, WarcRecord)]
    return [parse(each.block).page(8 << 20) for each in records[:: max(1, len(records) // pages)][:pages]]


def response(number: int, body: bytes) -> bytes:
    """Three of four pages come gzipped in chunks, as from a script; the fourth plain, as from a disk."""
    if number % 4 == 0:
        return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (HEADERS, len(body), body)
    body = gzip.compress(body, 6, mtime=0)
    chunks = [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    return b"HTTP/1.1 200 OK\r\n%bContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (
        HEADERS,
        coded,
    )


class Served(asyncio.Protocol):
    """One connection: requests without bodies, answered in order."""

    def __init__(self, responses: dict[bytes, bytes]) -> None:
        self._responses = responses
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            request, _, self._received = self._received.partition(b"\r\n\r\n")
            self._transport.write(self._responses.get(request.split(b" ", 2)[1], NOT_FOUND))


async def serve(bodies: Iterable[bytes]) -> None:
    """Serve /robots.txt and these pages as /0.html to /N.html, under any name, until standard input ends."""
    responses = {b"/%d.html" % number: response(number, body) for number, body in enumerate(bodies)}
    responses[b"/robots.txt"] = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(ROBOTS), ROBOTS)
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Served(responses), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    count, size = int(sys.argv[1]), int(sys.argv[2])
    pages = real(Path(sys.argv[3]), count) if len(sys.argv) > 3 else (page(n, size) for n in range(count))
    asyncio.run(serve(pages))
