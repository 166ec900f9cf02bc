"""Where a connection goes: curl's --connect-to, then DNS, then the guard over every address.

The guard stands twice. The resolver drops refused addresses from DNS answers, so that a name with one public
and one private address still works; the socket factory checks once more what is about to be connected to,
which covers hosts written as numbers and whatever else finds its way past the resolver.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from dataprep.crawl.addresses import Guard, RefusedAddress
from dataprep.errors import DataError

LOOKUPS_AT_ONCE = 32
"""Enough that dead names, which take seconds each, do not hold up the rest; few enough for a resolver."""

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)"
_ROUTE = re.compile(rf"{_HOST}:(\d*):{_HOST}:(\d*)")


@dataclass(frozen=True)
class Route:
    """Requests to `host`:`port` go to `to_host`:`to_port`; what is empty or 0 matches or stays as it is."""

    host: str
    port: int
    to_host: str
    to_port: int


def parse_route(text: str) -> Route:
    """Read `HOST1:PORT1:HOST2:PORT2`; raises DataError when it is not that.

    >>> parse_route("::[::1]:8080")
    Route(host='', port=0, to_host='[::1]', to_port=8080)
    """
    match = _ROUTE.fullmatch(text)
    if match is None:
        raise DataError(f"connect_to: {text!r} is not HOST1:PORT1:HOST2:PORT2, for example ::127.0.0.1:8080")
    host, port, to_host, to_port = match.groups()
    return Route(host.lower(), int(port or 0), to_host.lower(), int(to_port or 0))


def destination(host: str, port: int, routes: Sequence[Route]) -> tuple[str, int]:
    """The host and port that a request is sent to; the first route that matches decides."""
    for route in routes:
        if route.host in ("", host) and route.port in (0, port):
            return route.to_host or host, route.to_port or port
    return host, port


class GuardedResolver(AbstractResolver):
    """DNS on threads of its own, whose answers hold only addresses that the guard permits."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises RefusedAddress when a name has addresses, but none that is permitted."""
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(
            self._threads, socket.getaddrinfo, host, port, family, socket.SOCK_STREAM
        )
        permitted = [entry for entry in answer if self._guard.permits(str(entry[4][0]))]
        if not permitted:
            refused = ", ".join(sorted({str(entry[4][0]) for entry in answer}))
            raise RefusedAddress(f"{host} resolves to {refused}")
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in permitted
        ]

    async def close(self) -> None:
        """Wait for nothing: a lookup that hangs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def guarded_connector(guard: Guard, tls: ssl.SSLContext) -> TCPConnector:
    """A connector that opens no socket to an address that the guard refuses."""

    def guarded_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        guard.check(str(address[0]))
        return socket.socket(family, kind, protocol)

    return TCPConnector(
        resolver=GuardedResolver(guard),
        socket_factory=guarded_socket,
        ssl=tls,
        limit=0,  # how much runs at once is the sites' business
        ttl_dns_cache=300,
    )


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The system's trust, and the authorities of `ca_file`; raises DataError when it cannot be read."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise DataError(f"{ca_file}: cannot read certificate authorities (PEM): {error}") from None
    return context
