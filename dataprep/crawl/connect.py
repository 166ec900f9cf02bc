"""Where a connection goes: curl's --connect-to, then DNS, then the guard over every address.

The guard stands twice. The resolver (`dns.py`) drops refused addresses from DNS answers, so that a name with
one public and one private address still works; the socket factory checks once more what is about to be
connected to, which covers hosts written as numbers and whatever else finds its way past the resolver.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import AddrInfoType, TCPConnector

from dataprep.crawl.dns import GuardedResolver
from dataprep.errors import DataError
from dataprep.ip_addresses import Guard

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
        raise DataError(
            f"--connect-to {text!r}: is not HOST1:PORT1:HOST2:PORT2, for example ::127.0.0.1:8080"
        )
    host, port, to_host, to_port = match.groups()
    return Route(host.lower(), int(port or 0), to_host.lower(), int(to_port or 0))


def destination(host: str, port: int, routes: Sequence[Route]) -> tuple[str, int]:
    """The host and port that a request is sent to; the first route that matches decides."""
    for route in routes:
        if route.host in ("", host) and route.port in (0, port):
            return route.to_host or host, route.to_port or port
    return host, port


def guarded_connector(guard: Guard, resolver: GuardedResolver, tls: ssl.SSLContext) -> TCPConnector:
    """A connector that opens no socket to an address that the guard refuses."""

    def guarded_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        guard.check(str(address[0]))
        return socket.socket(family, kind, protocol)

    return TCPConnector(
        resolver=resolver,
        socket_factory=guarded_socket,
        ssl=tls,
        limit=0,  # how much runs at once is the sites' business
        use_dns_cache=False,  # the resolver keeps its answers
    )


def proxy_connector(tls: ssl.SSLContext) -> TCPConnector:
    """A connector for requests that all go to one proxy, which the user named: its address needs no guard."""
    return TCPConnector(ssl=tls, limit=0)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The system's trust, and the authorities of `ca_file`; raises DataError when it cannot be read."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise DataError(
                f"--ca-file {ca_file}: cannot read certificate authorities (PEM): {error.strerror}"
            ) from None
    return context
