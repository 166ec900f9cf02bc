"""One request and its response, inside every cap, or the reason why not. No redirects, no retries here."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from types import MappingProxyType, TracebackType
from typing import Self

import aiohttp
from aiohttp import ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, hdrs
from yarl import URL

from dataprep.crawl.connect import guarded_connector, proxy_connector
from dataprep.crawl.dns import NO_SUCH_HOST, GuardedResolver, Lookup, system_lookup
from dataprep.crawl.lenient_http import LINE_BYTES, LenientResponse
from dataprep.crawl.optout import HEAD_BYTES, header_opt_out, page_opt_out
from dataprep.crawl.outcomes import NotFetched, outcome_of_status
from dataprep.crawl.redirects import REDIRECT_STATUSES
from dataprep.crawl.routes import destination, parse_route
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Fetch
from dataprep.ip_addresses import Guard, RefusedAddress, numeric
from dataprep.warc.content_encoding import ACCEPT_ENCODING, BadEncoding, TooLarge, decoder
from dataprep.warc.http_response import media_type

Permit = Callable[[], None]
"""Called before each request; raises when nothing more may be asked."""


def always() -> None:
    """Permit every request."""


PAGE_STATUSES = frozenset([200, 203])
REDIRECT_BODY_BYTES = 1 << 16
"""The part of a redirect's body that is kept; nobody reads it."""


@dataclass(frozen=True)
class Exchange:
    """A request and the response to it, as they are archived.

    headers and request_headers: name and value bytes in the order on the wire.
    body: as received, Content-Encoding still on it, chunked transfer coding taken off (RFC 9112, 7.1).
    location: the address that a redirect names, else "".
    odd_head: status line and headers as received, where they had to be read leniently; else empty.
    """

    url: str
    started: datetime
    seconds: float
    request_headers: tuple[tuple[bytes, bytes], ...]
    http_version: str
    status: int
    reason: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    truncated: bool
    location: str
    odd_head: bytes = b""

    def header(self, name: str) -> str:
        """The first value of a response header, "" if there is none."""
        return self._first.get(name.lower().encode(), b"").decode("latin-1")

    @cached_property
    def _first(self) -> dict[bytes, bytes]:
        return {name.lower(): value for name, value in reversed(self.headers)}

    def _list(self, name: bytes) -> str:
        """The values of a header (its name in lower case) as the one list that several are."""
        return b", ".join([value for other, value in self.headers if other.lower() == name]).decode("latin-1")

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case."""
        return media_type(self._list(b"content-type"))

    @property
    def content_encoding(self) -> str:
        """The codings of the body, in the order in which they were applied."""
        return self._list(b"content-encoding")


class Client:
    """An HTTP client for strangers' servers; use it as `async with Client(...) as client`."""

    def __init__(
        self,
        settings: CrawlSettings,
        tls: ssl.SSLContext,
        lookup: Lookup = system_lookup,
        permit: Permit = always,
    ) -> None:
        self.under_way = 0
        """Requests that have begun and not ended."""
        self.answers = 0
        """Requests that have ended, however they did, in `answered_s` seconds together."""
        self.answered_s = 0.0
        self.heard = 0
        """Requests that a server has answered, in whatever way."""
        self._permit = permit
        self._settings = settings
        self._agent = {"User-Agent": settings.user_agent}
        self._accept = {"Accept": ", ".join([*sorted(settings.content_types), "*/*;q=0.1"])}
        self._routes = tuple(parse_route(text) for text in settings.connect_to)
        # Without a contact address only loopback is reached, wherever redirects and DNS may point.
        self._guard = Guard(public=bool(settings.contact), loopback=settings.allow_loopback)
        self._resolver = GuardedResolver(
            self._guard, lookups=settings.dns_concurrency, keep_s=settings.dns_cache_s, lookup=lookup
        )
        self._session = ClientSession(
            connector=(
                proxy_connector(tls)
                if settings.proxy
                else guarded_connector(self._guard, self._resolver, tls)
            ),
            auto_decompress=False,
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            response_class=LenientResponse,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            timeout=ClientTimeout(
                total=None, connect=settings.connect_timeout_s, sock_read=settings.read_timeout_s
            ),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def page(self, url: str, stored: Fetch | None = None) -> Exchange:
        """GET a page: an exchange with its whole body, or a redirect. Raises NotFetched for all else.

        stored: the page as it is stored; if the server has no other (304), the exchange has no body.
        """
        started, clock = datetime.now(UTC), time.monotonic()
        async with self.response(url, ACCEPT_ENCODING, _unless_changed(stored)) as response:
            location = response.headers.get("Location", "")
            truncated = False
            if response.status in REDIRECT_STATUSES and location:
                body, truncated = await read_up_to(response, REDIRECT_BODY_BYTES)
            elif response.status in PAGE_STATUSES:
                location = ""
                body = await self._page_body(response)
            elif response.status == HTTPStatus.NOT_MODIFIED and stored:
                location, body = "", b""
            else:
                raise NotFetched(
                    outcome_of_status(response.status),
                    f"HTTP {response.status}",
                    status=response.status,
                    retry_after_s=retry_after(response.headers.get("Retry-After", "")),
                )
            version = response.version or aiohttp.HttpVersion11
            return Exchange(
                url=url,
                started=started,
                seconds=time.monotonic() - clock,
                request_headers=tuple(
                    (name.encode(), value.encode())
                    for name, value in response.request_info.headers.items()
                    if name != hdrs.PROXY_AUTHORIZATION  # between us and the proxy, and secret
                ),
                http_version=f"HTTP/{version.major}.{version.minor}",
                status=response.status,
                reason=response.reason or "",
                headers=tuple(response.raw_headers),
                body=body,
                truncated=truncated,
                location=location,
                odd_head=response.odd_head,
            )

    @asynccontextmanager
    async def response(
        self, url: str, accept_encoding: str, conditions: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[LenientResponse]:
        """The response to a GET, its body unread; failures in here and in the `with` body are NotFetched."""
        self._permit()
        wanted = self._allowed(url)
        host, port = wanted.raw_host or "", wanted.port or 0
        to_host, to_port = destination(host, port, self._routes)
        self.under_way += 1
        began = time.monotonic()
        try:
            await self._reach(to_host)
            self._permit()  # DNS may have taken long
            async with (
                asyncio.timeout(self._settings.total_timeout_s),
                self._session.get(
                    wanted.with_host(to_host.strip("[]")).with_port(to_port).with_user(None),
                    headers={
                        "Host": _authority(wanted),
                        **self._agent,
                        **self._accept,
                        "Accept-Encoding": accept_encoding,
                        **conditions,
                    },
                    server_hostname=host if wanted.scheme == "https" else None,
                    allow_redirects=False,
                    proxy=self._settings.proxy or None,
                    proxy_headers=self._agent,
                ) as response,
            ):
                if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED and self._settings.proxy:
                    raise NotFetched("proxy_error", "the proxy asks for a name and a password")
                assert isinstance(response, LenientResponse)
                self.heard += 1
                yield response
        # UnicodeError: a label of the host that IDNA cannot encode.
        except (aiohttp.ClientError, RefusedAddress, TimeoutError, OSError, UnicodeError) as error:
            raise not_fetched(error) from error
        finally:
            self.under_way -= 1
            self.answers += 1
            self.answered_s += time.monotonic() - began

    def _allowed(self, url: str) -> URL:
        """A URL, parsed; raises NotFetched unless it is http or https on a port that may be asked."""
        wanted = _parsed(url)
        if wanted.port not in self._settings.ports:
            raise NotFetched("refused_port", f"port {wanted.port}")
        return wanted

    async def _reach(self, host: str) -> None:
        """Wait for a host's addresses before any clock of the request runs; raises RefusedAddress.

        Through a proxy only what the host's spelling tells can be checked: it is the proxy that asks DNS.
        """
        if self._settings.proxy:
            self._guard.check_spelling(host)
        elif numeric(host) is None:
            await self._resolver.prepare(host)

    def refuse_inward(self, url: str) -> None:
        """Raise NotFetched when a URL names, in numbers, an address that may not be connected to."""
        wanted = self._allowed(url)
        to_host, _ = destination(wanted.raw_host or "", wanted.port or 0, self._routes)
        address = numeric(to_host)
        if address is not None and not self._guard.permits(address):
            raise NotFetched("refused_address", f"redirect to {url[:200]}")

    def refuse_forgotten(self, url: str) -> None:
        """Raise NotFetched when a URL is of what the corpus has forgotten."""
        if self._settings.forgotten.names(url):
            raise NotFetched("forgotten")

    async def _page_body(self, response: ClientResponse) -> bytes:
        """The body of a page as sent; raises NotFetched when it breaks a cap, its type or its encoding,
        or is not to be trained on."""
        limits, status = self._settings, response.status

        def too_large(what: str) -> NotFetched:
            return NotFetched("too_large", what, status=status)

        def opted_out(how: str) -> NotFetched:
            return NotFetched("opted_out", how, status=status)

        if how := header_opt_out(response.headers.items(), limits.agent):
            raise opted_out(how)
        named = joined(response, "Content-Type")
        kind = media_type(named)
        if kind not in limits.content_types:
            raise NotFetched("wrong_type", f"Content-Type {named[:80]!r}", status=status)
        if (response.content_length or 0) > limits.max_wire_bytes:
            raise too_large(f"Content-Length {response.content_length}")
        chunks, beginning = list[bytes](), bytearray()
        sent_bytes = 0

        def go_through(pieces: Iterator[bytes]) -> None:
            """Keep the beginning of the page."""
            for piece in pieces:
                if len(beginning) < HEAD_BYTES:
                    beginning.extend(piece)

        try:
            decoding = decoder(joined(response, "Content-Encoding"), limits.max_page_bytes)
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                sent_bytes += len(chunk)
                if sent_bytes > limits.max_wire_bytes:
                    raise too_large(f"over {limits.max_wire_bytes} bytes as sent")
                go_through(decoding.decode(chunk))
            go_through(decoding.finish())
            if not decoding.ended:
                raise BadEncoding("the body breaks off in the middle of its Content-Encoding")
        except BadEncoding as error:
            raise NotFetched("bad_encoding", str(error), status=status) from None
        except TooLarge:
            raise too_large(f"over {limits.max_page_bytes} bytes decoded") from None
        if kind != "text/plain" and (how := page_opt_out(bytes(beginning[:HEAD_BYTES]), limits.agent)):
            raise opted_out(how)
        return b"".join(chunks)


def joined(response: ClientResponse, name: str) -> str:
    """The values of a header, as the one list that several are (RFC 9110, section 5.3)."""
    return ", ".join(response.headers.getall(name, []))


async def read_up_to(response: ClientResponse, limit: int) -> tuple[bytes, bool]:
    """The first `limit` bytes of a body as sent, and whether there was more."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            return bytes(body[:limit]), True
    return bytes(body), False


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3); 0 if it has none.

    >>> retry_after("120"), retry_after("soon")
    (120.0, 0.0)
    """
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without its zone
        return 0.0


def _unless_changed(stored: Fetch | None) -> dict[str, str]:
    """The headers that ask for a page only if it is not as stored (RFC 9110, sections 13.1.2 and 13.1.3)."""
    if stored is None:
        return {}
    conditions = {"If-None-Match": stored.etag, "If-Modified-Since": stored.last_modified}
    return {name: value for name, value in conditions.items() if value and value.isascii()}


def _parsed(url: str) -> URL:
    """A URL as it stands, no escape touched; raises NotFetched unless it is http or https with a host."""
    try:
        parsed = URL(url, encoded=True)
        usable = parsed.scheme in ("http", "https") and bool(parsed.raw_host) and bool(parsed.port)
    except ValueError as error:
        raise NotFetched("bad_url", f"{error}: {url[:200]}") from None
    if not usable:
        raise NotFetched("bad_url", f"not an http or https URL: {url[:200]}")
    return parsed


def _authority(url: URL) -> str:
    """The Host header of a URL: never its user and password, no default port (RFC 9112, section 3.2)."""
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.is_default_port() else f"{host}:{url.port}"


def not_fetched(error: Exception) -> NotFetched:
    """The outcome of what the client raised. The order matters: aiohttp's errors inherit from several."""
    match error:
        case RefusedAddress():
            outcome = "refused_address"
        case aiohttp.ClientHttpProxyError() | aiohttp.ClientProxyConnectionError():
            outcome = "proxy_error"
        case aiohttp.ClientConnectorDNSError():
            return not_fetched(error.os_error)
        case socket.gaierror():
            outcome = "no_such_host" if error.errno in NO_SUCH_HOST else "dns_error"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            outcome = "tls_error"
        case TimeoutError():
            outcome = "timeout"
        case aiohttp.ClientPayloadError():
            outcome = "incomplete"
        case aiohttp.InvalidURL():
            outcome = "bad_url"
        case aiohttp.ClientConnectionError() | OSError():
            outcome = "connect_error"
        case aiohttp.ClientError():
            outcome = "bad_http"
        case _:
            outcome = "bad_url"
    return NotFetched(outcome, f"{type(error).__name__}: {error}"[:300])
