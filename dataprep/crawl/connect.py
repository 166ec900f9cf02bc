"""Where a connection may go: DNS, then the guard over every address.

The guard stands twice. The resolver (`dns.py`) drops refused addresses from DNS answers, so that a name with
one public and one private address still works; the socket factory checks once more what is about to be
connected to, which covers hosts written as numbers and whatever else finds its way past the resolver.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from aiohttp import AddrInfoType

from dataprep.crawl.dns import GuardedResolver
from dataprep.crawl.lenient_http import LenientConnector
from dataprep.errors import DataError
from dataprep.ip_addresses import Guard


def guarded_connector(guard: Guard, resolver: GuardedResolver, tls: ssl.SSLContext) -> LenientConnector:
    """A connector that opens no socket to an address that the guard refuses."""

    def guarded_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        guard.check(str(address[0]))
        return socket.socket(family, kind, protocol)

    return LenientConnector(
        resolver=resolver,
        socket_factory=guarded_socket,
        ssl=tls,
        limit=0,  # how much runs at once is the sites' business
        use_dns_cache=False,  # the resolver keeps its answers
    )


def proxy_connector(tls: ssl.SSLContext) -> LenientConnector:
    """A connector for requests that all go to one proxy, which the user named: its address needs no guard."""
    return LenientConnector(ssl=tls, limit=0)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The system's trust, and the authorities of `ca_file`; raises DataError when it cannot be read."""
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise DataError(
                f"{ca_file}: cannot read certificate authorities (PEM): {error.strerror}; name another file"
            ) from None
    return context
