"""Servers that mean harm, on raw sockets: what a polite HTTP library would refuse to send.

One listener answers for every host. A host named in `ANSWERS` misbehaves in its own way on its pages and has
no robots.txt; one named in `ROBOTS` misbehaves there and has a page. All others serve one small page.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import brotlicffi
from backports import zstd
from isal import igzip, isal_zlib

from support.patience import patient
from support.servers.threads import socket_server

Writer = asyncio.StreamWriter
Answer = Callable[[Writer], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n"
KEPT = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
ZEROS = bytes(1 << 20)
BOMB_BYTES = 256 << 20
EMPTY = igzip.compress(b"")


def said(data: bytes) -> Answer:
    """Send this and hang up."""

    async def answer(writer: Writer) -> None:
        writer.write(data)
        await writer.drain()

    return answer


def page(body: bytes, *headers: bytes) -> Answer:
    lines = b"".join(header + b"\r\n" for header in headers)
    return said(OK + b"Content-Length: %d\r\n" % len(body) + lines + b"\r\n" + body)


def forever(first: bytes, again: bytes, pause_s: float = 0.0) -> Answer:
    """Send `first`, then `again` for as long as somebody listens."""

    async def answer(writer: Writer) -> None:
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return answer


def stalling(data: bytes = b"") -> Answer:
    """Send this, then keep the connection open and say nothing more."""

    async def answer(writer: Writer) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(patient())

    return answer


def resetting(data: bytes = b"") -> Answer:
    """Send this, then break the connection with a TCP reset."""

    async def answer(writer: Writer) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.05)  # let it arrive: a reset discards what has not been read
        writer.transport.abort()

    return answer


def bomb(encoding: str) -> Answer:
    """A quarter of a gigabyte of zeros in an encoding."""

    def packed() -> bytes:
        match encoding:
            case "gzip":
                return bytes(igzip.compress(bytes(BOMB_BYTES), 1))
            case "deflate":
                return bytes(isal_zlib.compress(bytes(BOMB_BYTES), 1))
            case "raw deflate":
                stream = zlib.compressobj(1, wbits=-15)
                return b"".join(stream.compress(ZEROS) for _ in range(64)) + stream.flush()
            case "br":
                return bytes(brotlicffi.compress(bytes(BOMB_BYTES), quality=1))
            case _:
                return zstd.compress(bytes(BOMB_BYTES))

    body = packed()
    name = "deflate" if encoding == "raw deflate" else encoding
    return page(body, b"Content-Encoding: " + name.encode())


def bare(status: bytes, *headers: bytes) -> Answer:
    """A status and headers, no body."""
    head = [b"HTTP/1.1 " + status, b"Connection: close", b"Content-Length: 0", *headers]
    return said(b"\r\n".join(head) + b"\r\n\r\n")


def redirecting(location: bytes) -> Answer:
    return bare(b"302 Found", b"Location: " + location)


HEADERS_100_000 = b"".join(b"X-%d: y\r\n" % number for number in range(100_000))
HEADER_10_MB = b"X-Long: " + b"x" * (10 << 20) + b"\r\n"

# host: (how it answers, the outcomes that are right)
ANSWERS: dict[str, tuple[Callable[[], Answer], str]] = {
    # Bombs. Encodings that cannot be undone are refused unread.
    "bomb-gzip": (lambda: bomb("gzip"), "too_large"),
    "bomb-deflate": (lambda: bomb("deflate"), "too_large"),
    "bomb-raw-deflate": (lambda: bomb("raw deflate"), "too_large"),
    "bomb-zstd": (lambda: bomb("zstd"), "bad_encoding"),
    "bomb-br": (lambda: bomb("br"), "too_large"),
    "br-is-no-br": (lambda: page(b"\x0f" + bytes(10_000), b"Content-Encoding: br"), "bad_encoding"),
    "bomb-twice": (lambda: page(igzip.compress(ZEROS), b"Content-Encoding: gzip, gzip"), "bad_encoding"),
    "bomb-behind-an-end": (
        lambda: page(igzip.compress(EMPTY + bytes(BOMB_BYTES), 1), b"Content-Encoding: gzip, gzip"),
        "too_large",
    ),
    "bomb-of-members": (lambda: page(EMPTY * 99_999, b"Content-Encoding: gzip"), "bad_encoding"),
    # Without an end.
    "endless-body": (lambda: forever(OK + b"\r\n", ZEROS), "too_large"),
    "endless-chunks": (lambda: forever(CHUNKED, b"100000\r\n" + ZEROS + b"\r\n"), "too_large"),
    "endless-headers": (lambda: forever(OK, b"X-More: yes\r\n"), "bad_http"),
    "endless-header": (lambda: forever(OK + b"X-More: ", ZEROS), "bad_http"),
    "endless-status": (lambda: forever(b"HTTP/1.1 200 ", ZEROS.replace(b"\0", b"O")), "bad_http"),
    "endless-hints": (lambda: forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.001), "timeout"),
    "endless-chunk-extension": (lambda: forever(CHUNKED + b"1;", b"x" * 9999), "bad_http incomplete timeout"),
    "endless-trailers": (lambda: forever(CHUNKED + b"0\r\n", b"X-More: yes\r\n"), "bad_http incomplete"),
    "endless-redirect": (
        lambda: forever(b"HTTP/1.1 302 Found\r\nLocation: http://good.test/\r\n\r\n", ZEROS),
        "moved",
    ),
    "headers-100000": (lambda: said(OK + HEADERS_100_000 + b"\r\n"), "bad_http"),
    "header-10mb": (lambda: said(OK + HEADER_10_MB + b"\r\n"), "bad_http"),
    # Slow, or broken off.
    "silent": (stalling, "timeout"),
    "stalls-in-headers": (lambda: stalling(OK), "timeout"),
    "stalls-in-body": (lambda: stalling(OK + b"Content-Length: 99\r\n\r\n<p>"), "timeout"),
    "drips-headers": (lambda: forever(OK + b"X-Drip: ", b".", 0.05), "timeout"),
    "drips-body": (lambda: forever(OK + b"\r\n", b".", 0.05), "timeout"),
    "resets": (resetting, "connect_error"),
    "resets-in-headers": (lambda: resetting(OK), "connect_error"),
    "resets-in-body": (lambda: resetting(OK + b"Content-Length: 99\r\n\r\n<p>"), "incomplete connect_error"),
    "hangs-up": (lambda: said(b""), "connect_error"),
    "hangs-up-in-headers": (lambda: said(OK), "connect_error bad_http"),
    # Lengths and chunks that do not add up.
    "too-short": (lambda: said(OK + b"Content-Length: 1000\r\n\r\n<p>"), "incomplete"),
    # The client sees what is too much, or has hung up before it comes.
    "too-long": (lambda: said(OK + b"Content-Length: 3\r\n\r\n<p>and more"), "bad_http ok"),
    "too-long-kept-open": (lambda: said(KEPT + b"Content-Length: 3\r\n\r\n<p>and more"), "bad_http ok"),
    "two-answers": (lambda: said((KEPT + b"Content-Length: 3\r\n\r\n<p>") * 2), "ok"),
    "length-negative": (lambda: said(OK + b"Content-Length: -1\r\n\r\n<p>"), "bad_http"),
    "length-no-number": (lambda: said(OK + b"Content-Length: 3x\r\n\r\n<p>"), "bad_http"),
    "length-enormous": (lambda: said(OK + b"Content-Length: 9" + b"9" * 15 + b"\r\n\r\n<p>"), "too_large"),
    "lengths-differ": (
        lambda: said(OK + b"Content-Length: 3\r\nContent-Length: 9\r\n\r\n<p>"),
        "bad_http incomplete",
    ),
    "chunk-no-number": (lambda: said(CHUNKED + b"zz\r\n<p>\r\n0\r\n\r\n"), "bad_http incomplete"),
    "chunk-negative": (lambda: said(CHUNKED + b"-3\r\n<p>\r\n0\r\n\r\n"), "bad_http incomplete"),
    "chunk-enormous": (
        lambda: said(CHUNKED + b"F" * 16 + b"\r\n<p>\r\n0\r\n\r\n"),
        "bad_http incomplete too_large",
    ),
    "chunk-too-long": (lambda: said(CHUNKED + b"1\r\n<p>\r\n0\r\n\r\n"), "bad_http incomplete"),
    "chunk-without-end": (lambda: said(CHUNKED + b"3\r\n<p>\r\n"), "incomplete"),
    # What is no HTTP, and lies.
    "http-0.9": (lambda: said(b"<html><p>hello"), "bad_http"),
    "garbage": (lambda: said(bytes(range(256)) * 100), "bad_http"),
    "another-protocol": (lambda: said(b"220 mail.test ESMTP\r\n"), "bad_http"),
    "status-no-number": (lambda: said(b"HTTP/1.1 OK\r\n\r\n"), "bad_http"),
    "status-999": (lambda: bare(b"999 No"), "http_error server_error"),
    "upgrades": (lambda: said(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
                 "http_error bad_http"),
    "header-with-nul": (lambda: said(OK + b"X-Nul: a\0b\r\nContent-Length: 3\r\n\r\n<p>"), "bad_http"),
    "gzip-is-no-gzip": (lambda: page(b"<p>\0\1\2", b"Content-Encoding: gzip"), "bad_encoding"),
    "gzip-breaks-off": (
        lambda: page(igzip.compress(b"<p>" * 99)[:-9], b"Content-Encoding: gzip"),
        "bad_encoding",
    ),
    "image-as-html": (lambda: page(b"\x89PNG\r\n\x1a\n" + bytes(100)), "ok"),
    "html-as-image": (
        lambda: said(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\n<p>"),
        "wrong_type",
    ),
    "no-type": (lambda: said(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>"), "wrong_type"),
    "no-charset": (lambda: page(b"<p>\xff\xfe\0", b"Content-Language: \xff\xfe"), "ok"),
    # Redirects. What leads off the site without leading inward is left to its owner, unread.
    "to-itself": (lambda: redirecting(b"/"), "redirect_loop"),
    "to-private": (lambda: redirecting(b"http://10.0.0.1/"), "refused_address"),
    "to-metadata": (lambda: redirecting(b"http://169.254.169.254/latest/meta-data/"), "refused_address"),
    "to-mapped": (lambda: redirecting(b"http://[::ffff:10.0.0.1]/"), "refused_address"),
    "to-decimal": (lambda: redirecting(b"http://167772161/"), "refused_address"),
    "to-hexadecimal": (lambda: redirecting(b"http://0xa000001/"), "refused_address"),
    "to-octal": (lambda: redirecting(b"http://012.0.0.1/"), "refused_address"),
    "to-userinfo": (lambda: redirecting(b"http://good.test@10.0.0.1/"), "refused_address"),
    "to-file": (lambda: redirecting(b"file:///etc/passwd"), "bad_url"),
    "to-gopher": (lambda: redirecting(b"gopher://10.0.0.1/"), "bad_url"),
    "to-nowhere": (lambda: redirecting(b"http://["), "bad_url"),
    "to-ssh": (lambda: redirecting(b"http://good.test:22/"), "refused_port"),
}  # fmt: skip

# robots.txt of hosts that have a good page
ROBOTS: dict[str, tuple[Callable[[], Answer], str]] = {
    "robots-endless": (lambda: forever(PLAIN + b"\r\nUser-agent: *\r\n", b"Disallow: /x\r\n" * 9999), "ok"),
    "robots-forbids-then-endless": (
        lambda: forever(PLAIN + b"\r\nUser-agent: *\r\nDisallow: /\r\n", b"#" * 9999), "robots_denied"
    ),
    "robots-one-line": (lambda: forever(PLAIN + b"\r\n", b"x" * 99_999), "ok"),
    "robots-drips": (lambda: forever(PLAIN + b"\r\n", b"#", 0.05), "robots_unavailable"),
    "robots-silent": (stalling, "robots_unavailable"),
    "robots-resets": (lambda: resetting(PLAIN), "robots_unavailable connect_error"),
    "robots-gone": (lambda: bare(b"410 Gone"), "ok"),
    "robots-broken": (lambda: bare(b"500 No"), "robots_unavailable"),
    "robots-binary": (lambda: said(PLAIN + b"\r\n" + bytes(range(256)) * 99), "ok"),
    "robots-bomb": (
        lambda: said(PLAIN + b"Content-Encoding: gzip\r\n\r\n" + igzip.compress(bytes(BOMB_BYTES), 1)), "ok"
    ),
    "robots-redirects": (lambda: redirecting(b"/robots.txt"), "ok"),
    "robots-inward": (lambda: redirecting(b"http://169.254.169.254/"), "robots_unavailable"),
    "robots-endless-header": (lambda: forever(PLAIN + b"X: ", b"x" * 99_999), "robots_unavailable"),
    "robots-bomb-br": (lambda: bomb("br"), "ok"),
    "robots-garbage": (lambda: said(bytes(range(256))), "robots_unavailable"),
}  # fmt: skip


@contextmanager
def listening() -> Iterator[int]:
    """Serve in a thread of its own; gives the port."""
    pages = {host: make() for host, (make, _) in ANSWERS.items()}
    robots = {host: make() for host, (make, _) in ROBOTS.items()}
    good = page(b"<p>hello")
    missing = bare(b"404 Not Found")

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            host = head.lower().partition("\r\nhost: ")[2].partition("\r\n")[0].removesuffix(".test")
            if head.startswith("GET /robots.txt "):
                await robots.get(host, missing)(writer)
            else:
                await pages.get(host, good)(writer)
        writer.close()

    with socket_server(serve) as port:
        yield port
