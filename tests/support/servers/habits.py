"""Habits of real servers that browsers forgive, on raw sockets: the bytes of one page, a habit a host.

Each host in `PAGES` sends the same page, `PAGE`, in its own way; each in `ROBOTS` has such a habit in its
robots.txt, which forbids `/private`.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import brotlicffi

from support.servers.threads import socket_server

PARAGRAPHS = [
    f"Paragraph {number}: the harbour authority said that the old ferry will return to service before summer."
    for number in range(8)
]
PAGE = (
    "<html><head><meta charset=utf-8><title>Ferry</title></head><body><article><h1>Ferry returns</h1>"
    + "".join(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS)
    + "</article></body></html>"
).encode()

OK = b"HTTP/1.1 200 OK\r\n"
HTML = b"Content-Type: text/html; charset=utf-8\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
KILO = b"X-Filler: " + b"x" * 1012 + b"\r\n"


def sent(
    *lines: bytes,
    body: bytes = PAGE,
    status: bytes = OK,
    kind: bytes = HTML,
    length: bytes | None = None,
    end: bytes = b"\r\n",
) -> bytes:
    """A response that closes its connection; length: the line that says how long the body is."""
    length = b"Content-Length: %d\r\n" % len(body) if length is None else length
    return b"".join([status, kind, CLOSE, length, *lines, end, body])


def chunks(
    body: bytes = PAGE,
    size: bytes = b"%x\r\n",
    end: bytes = b"0\r\n\r\n",
    after: bytes = b"\r\n",
    many: int = 500,
) -> bytes:
    """A body in the chunked coding, `many` bytes a chunk."""
    pieces = [body[at : at + many] for at in range(0, len(body), many)]
    return b"".join(size % len(piece) + piece + after for piece in pieces) + end


def chunked(*lines: bytes, coding: bytes = CHUNKED, status: bytes = OK, **how: bytes | int) -> bytes:
    return sent(*lines, body=chunks(**how), length=coding, status=status)  # type: ignore[arg-type]


def coded(coding: bytes, body: bytes) -> bytes:
    return sent(b"Content-Encoding: %b\r\n" % coding, body=body)


def typed(*values: bytes) -> bytes:
    return sent(kind=b"".join(b"Content-Type: %b\r\n" % value for value in values))


def deflated() -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(PAGE) + stream.flush()


GZIP = gzip.compress(PAGE, mtime=0)
TWO_MEMBERS = gzip.compress(PAGE[:400], mtime=0) + gzip.compress(PAGE[400:], mtime=0)
BROTLI = brotlicffi.compress(PAGE)
LENGTH = b"Content-Length: %d\r\n" % len(PAGE)

PAGES: dict[str, bytes] = {
    "plain": sent(),
    # Content codings
    "gzip": coded(b"gzip", GZIP),
    "gzip-two-members": coded(b"gzip", TWO_MEMBERS),
    "gzip-many-members": coded(
        b"gzip", b"".join(gzip.compress(PAGE[at : at + 9]) for at in range(0, len(PAGE), 9))
    ),
    "gzip-empty-member": coded(b"gzip", gzip.compress(b"") + GZIP + gzip.compress(b"")),
    "gzip-then-line-end": coded(b"gzip", GZIP + b"\r\n"),
    "gzip-then-zeros": coded(b"gzip", GZIP + bytes(512)),
    "gzip-two-members-chunked": sent(b"Content-Encoding: gzip\r\n", body=chunks(TWO_MEMBERS), length=CHUNKED),
    "gzip-upper-case": coded(b"GZIP", GZIP),
    "x-gzip": coded(b"x-gzip", GZIP),
    "gzip-quoted": coded(b'"gzip"', GZIP),
    "gzip-twice-in-the-list": coded(b"gzip, gzip", GZIP),
    "gzip-twice-in-headers": sent(b"Content-Encoding: gzip\r\n" * 2, body=GZIP),
    "gzip-of-gzip": coded(b"gzip, gzip", gzip.compress(GZIP)),
    "gzip-after-an-empty-item": coded(b", gzip", GZIP),
    "gzip-before-an-empty-item": coded(b"gzip,", GZIP),
    "gzip-and-a-charset": coded(b"gzip, UTF-8", GZIP),
    "gzip-and-identity": coded(b"identity, gzip", GZIP),
    "gzip-that-is-plain": coded(b"gzip", PAGE),
    "gzip-and-brotli-that-are-plain": coded(b"gzip, br", PAGE),
    "deflate-with-zlib": coded(b"deflate", zlib.compress(PAGE)),
    "deflate-raw": coded(b"deflate", deflated()),
    "deflate-that-is-plain": coded(b"deflate", PAGE),
    "deflate-that-is-plain-after-a-line-end": coded(b"deflate", b"\n" + PAGE),
    "deflate-that-is-gzip": coded(b"deflate", GZIP),
    "brotli": coded(b"br", BROTLI),
    "brotli-chunked": sent(b"Content-Encoding: br\r\n", body=chunks(BROTLI), length=CHUNKED),
    "brotli-that-is-plain": coded(b"br", PAGE),
    "brotli-that-is-plain-after-a-line-end": coded(b"br", b"\n\n" + PAGE),
    "brotli-of-gzip": coded(b"gzip, br", brotlicffi.compress(GZIP)),
    "zstd-that-is-plain": coded(b"zstd", PAGE),
    "coding-utf-8": coded(b"UTF-8", PAGE),
    "coding-none": coded(b"none", PAGE),
    "coding-binary": coded(b"binary", PAGE),
    "coding-8bit": coded(b"8bit", PAGE),
    "coding-chunked": coded(b"chunked", PAGE),
    "coding-a-type": coded(b"text/html; charset=utf-8", PAGE),
    "coding-empty": coded(b"", PAGE),
    "coding-commas": coded(b",,", PAGE),
    "coding-identity": coded(b"Identity", PAGE),
    # Large heads
    "header-of-9-kb": sent(b"Content-Security-Policy: " + b"x" * 9000 + b"\r\n"),
    "header-of-60-kb": sent(b"Content-Security-Policy: " + b"x" * 60_000 + b"\r\n"),
    "header-of-200-kb": sent(b"Set-Cookie: " + b"x" * 200_000 + b"\r\n"),
    "head-of-200-kb": sent(KILO * 200),
    "headers-400": sent(b"".join(b"X-%d: y\r\n" % number for number in range(400))),
    "header-name-of-9-kb": sent(b"X-" + b"x" * 9000 + b": y\r\n"),
    "reason-of-9-kb": sent(status=b"HTTP/1.1 200 " + b"O" * 9000 + b"\r\n"),
    "header-of-9-kb-gzip-chunked": sent(
        b"P3P: " + b"x" * 9000 + b"\r\nContent-Encoding: gzip\r\n", body=chunks(GZIP), length=CHUNKED
    ),
    "header-of-9-kb-until-close": sent(b"P3P: " + b"x" * 9000 + b"\r\n", length=b""),
    # Header lines
    "space-before-colon": sent(b"X-Powered-By : PHP\r\n"),
    "tab-before-colon": sent(b"X-Powered-By\t: PHP\r\n"),
    "space-before-colon-of-length": sent(length=b"Content-Length : %d\r\n" % len(PAGE)),
    "space-before-colon-of-type": sent(kind=b"Content-Type : text/html\r\n"),
    "space-before-colon-of-chunked": chunked(coding=b"Transfer-Encoding : chunked\r\n"),
    "space-before-colon-of-gzip": sent(b"Content-Encoding : gzip\r\n", body=GZIP),
    "space-in-name": sent(b"X Powered By: PHP\r\n"),
    "odd-sign-in-name": sent(b"X-Powered(By): PHP\r\nX[1]: a\r\nX@b: c\r\n"),
    "name-beyond-ascii": sent("X-Größe: 1\r\n".encode()),
    "name-in-latin-1": sent("X-Größe: 1\r\n".encode("latin-1")),
    "no-name": sent(b": PHP\r\n"),
    "no-colon": sent(b"X-Powered-By PHP\r\n"),
    "no-colon-first": sent(kind=b"this is a comment\r\n" + HTML),
    "no-colon-last": sent(end=b"nothing here\r\n\r\n"),
    "no-space-after-colon": sent(b"X-Powered-By:PHP\r\n"),
    "no-value": sent(b"X-Powered-By:\r\n"),
    "folded": sent(b"X-Powered-By: PHP,\r\n and more\r\n\tand more\r\n"),
    "folded-first": sent(status=OK + b" X-Before: any name\r\n"),
    "value-beyond-ascii": sent("X-Author: Grüße\r\n".encode()),
    "value-in-latin-1": sent("X-Author: Grüße\r\n".encode("latin-1")),
    "control-sign-in-value": sent(b"X-Author: a\x01\x08\x7fb\r\n"),
    "return-in-value": sent(b"X-Author: a\rb\r\n"),
    "lines-end-in-lf": sent().replace(b"\r\n", b"\n"),
    "some-lines-end-in-lf": sent(b"X-Powered-By: PHP\n"),
    "lines-end-in-cr-cr-lf": sent(b"X-Powered-By: PHP\r\r\n"),
    "status-again-as-header": sent(b"HTTP/1.1 200 OK\r\n"),
    "date-twice": sent(b"Date: Thu, 01 Aug 2013 00:00:00 GMT\r\n" * 2),
    "server-twice": sent(b"Server: a\r\nServer: b\r\n"),
    "keep-alive-proxy": sent(b"Proxy-Connection: keep-alive\r\nKeep-Alive: max=100\r\n"),
    "cookies-broken": sent(b'Set-Cookie: =;;="\r\nSet-Cookie: a b c=1; expires=soon\r\n'),
    # Lengths
    "length-twice": sent(LENGTH),
    "length-twice-in-one": sent(length=b"Content-Length: %d, %d\r\n" % (len(PAGE), len(PAGE))),
    "length-with-zeros": sent(length=b"Content-Length: 000%d\r\n" % len(PAGE)),
    "length-with-spaces": sent(length=b"Content-Length:   %d  \r\n" % len(PAGE)),
    "length-empty": sent(length=b"Content-Length: \r\n"),
    "length-none-until-close": sent(length=b""),
    "length-beside-chunked": chunked(b"Content-Length: %d\r\n" % len(chunks())),
    "length-wrong-beside-chunked": chunked(LENGTH),
    "length-beside-identity": sent(b"Transfer-Encoding: identity\r\n"),
    "more-than-length": sent() + b"\r\n\r\n",
    # Chunks
    "chunked": chunked(),
    "chunked-upper-case": chunked(size=b"%X\r\n", coding=b"Transfer-Encoding: Chunked\r\n"),
    "chunked-twice": chunked(coding=CHUNKED * 2),
    "chunked-twice-in-one": chunked(coding=b"Transfer-Encoding: chunked, chunked\r\n"),
    "chunked-after-identity": chunked(coding=b"Transfer-Encoding: identity, chunked\r\n"),
    "chunked-sizes-padded": chunked(size=b"%-6x\r\n"),
    "chunked-sizes-with-zeros": chunked(size=b"%08x\r\n"),
    "chunked-sizes-extended": chunked(size=b"%x;name=value\r\n"),
    "chunked-in-lf": chunked(size=b"%x\n", after=b"\n", end=b"0\n\n"),
    "chunked-single-bytes": chunked(many=1),
    "chunked-with-trailers": chunked(end=b"0\r\nX-Sum: 1\r\n\r\n"),
    "chunked-last-with-zeros": chunked(end=b"0000\r\n\r\n"),
    "chunked-then-more": chunked(end=b"0\r\n\r\n\r\n"),
    "chunked-1.0": chunked(status=b"HTTP/1.0 200 OK\r\n"),
    # Status lines
    "http-1.0": sent(status=b"HTTP/1.0 200 OK\r\n"),
    "http-1.2": sent(status=b"HTTP/1.2 200 OK\r\n"),
    "http-2": sent(status=b"HTTP/2 200\r\n"),
    "http-2.0": sent(status=b"HTTP/2.0 200 OK\r\n"),
    "http-3": sent(status=b"HTTP/3 200\r\n"),
    "http-1": sent(status=b"HTTP/1 200 OK\r\n"),
    "http-0.9": sent(status=b"HTTP/0.9 200 OK\r\n"),
    "http-10.1": sent(status=b"HTTP/10.1 200 OK\r\n"),
    "http-without-version": sent(status=b"HTTP 200 OK\r\n"),
    "http-lower-case": sent(status=b"http/1.1 200 OK\r\n"),
    "status-alone": sent(status=b"HTTP/1.1 200\r\n"),
    "status-and-space": sent(status=b"HTTP/1.1 200 \r\n"),
    "status-after-two-spaces": sent(status=b"HTTP/1.1  200  OK\r\n"),
    "status-after-tab": sent(status=b"HTTP/1.1\t200\tOK\r\n"),
    "status-after-line-ends": sent(status=b"\r\n\r\nHTTP/1.1 200 OK\r\n"),
    "status-after-spaces": sent(status=b"  HTTP/1.1 200 OK\r\n"),
    "status-with-latin-1": sent(status="HTTP/1.1 200 Gültig\r\n".encode("latin-1")),
    "status-with-control-sign": sent(status=b"HTTP/1.1 200 O\x01K\r\n"),
    "after-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" + sent(),
    "after-odd-hints": b"HTTP/1.1 103 Early Hints\r\nLink : </a.css>\r\n\r\n" + sent(),
    "odd-after-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    + sent(b"X-Powered-By : PHP\r\n"),
    "after-continue": b"HTTP/1.1 100 Continue\r\n\r\n" + sent(),
    # Types
    "type-without-semicolon": typed(b"text/html charset=utf-8"),
    "type-comma": typed(b"text/html, charset=utf-8"),
    "type-quoted": typed(b'"text/html"'),
    "type-quoted-whole": typed(b'"text/html; charset=utf-8"'),
    "type-quoted-once": typed(b"'text/html'; charset=utf-8"),
    "type-upper-case": typed(b"TEXT/HTML; CHARSET=UTF-8"),
    "type-charset-quoted": typed(b'text/html; charset="utf-8"'),
    "type-two-semicolons": typed(b"text/html;; charset=utf-8;"),
    "type-semicolon-first": typed(b"; text/html; charset=utf-8"),
    "type-twice": typed(b"text/html", b"text/html; charset=utf-8"),
    "type-twice-in-one": typed(b"text/html, text/html; charset=utf-8"),
    "type-twice-second-empty": typed(b"text/html", b""),
    "type-any-then-html": typed(b"*/*", b"text/html"),
    "type-html-then-any": typed(b"text/html", b"*/*"),
    "type-after-its-name": typed(b"Content-Type: text/html"),
    "type-equals": typed(b"=text/html; charset=utf-8"),
    "type-spaced": typed(b"text / html ; charset=utf-8"),
    "type-colon": typed(b"text/html: charset=utf-8"),
    "type-odd-charset": typed(b"text/html; charset=none"),
    "type-xhtml": typed(b"application/xhtml+xml"),
}

RULES = b"User-agent: *\nDisallow: /private\n"
TEXT = b"Content-Type: text/plain\r\n"
ROBOTS: dict[str, bytes] = {
    "robots-header-of-9-kb": sent(b"P3P: " + b"x" * 9000 + b"\r\n", body=RULES, kind=TEXT),
    "robots-head-of-200-kb": sent(KILO * 200, body=RULES, kind=TEXT),
    "robots-space-before-colon": sent(b"X-Powered-By : PHP\r\n", body=RULES, kind=TEXT),
    "robots-http-2": sent(body=RULES, kind=TEXT, status=b"HTTP/2 200\r\n"),
    "robots-gzip-two-members": sent(
        b"Content-Encoding: gzip\r\n", body=gzip.compress(RULES[:20]) + gzip.compress(RULES[20:]), kind=TEXT
    ),
    "robots-gzip-that-is-plain": sent(b"Content-Encoding: gzip\r\n", body=RULES, kind=TEXT),
    "robots-brotli": sent(b"Content-Encoding: br\r\n", body=brotlicffi.compress(RULES), kind=TEXT),
    "robots-coding-utf-8": sent(b"Content-Encoding: utf-8\r\n", body=RULES, kind=TEXT),
}


@dataclass
class Habits:
    """What the server has seen: requests by host and path, connections, and connections that carried two."""

    port: int = 0
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    reused: list[str] = field(default_factory=list)


@contextmanager
def listening(
    pages: dict[str, bytes], robots: dict[str, bytes] | None = None, step: int = 0
) -> Iterator[Habits]:
    """Serve in a thread of its own; a host of `robots` has the plain page.

    step: bytes sent at once, 0 for all.

    A connection stays open after an answer unless that asked to close it.
    """
    seen = Habits()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = 0
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ", 2)[1]
                host = head.lower().partition("\r\nhost: ")[2].partition("\r\n")[0].removesuffix(".test")
                seen.requests[host, path] += 1
                served += 1
                if served > 1:
                    seen.reused.append(host)
                found = (robots or {}).get(host) if path == "/robots.txt" else pages.get(host, PAGES["plain"])
                if path.startswith("/.well-known/") or found is None:
                    found = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
                for at in range(0, len(found), step or len(found)):
                    writer.write(found[at : at + (step or len(found))])
                    await writer.drain()
                    if step:
                        await asyncio.sleep(0)
                if CLOSE in found or CLOSE.replace(b"\r", b"") in found:
                    break
        writer.close()

    with socket_server(answer) as seen.port:
        yield seen
