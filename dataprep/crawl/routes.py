"""Connections to another host and port than those of the URL, as by curl's --connect-to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dataprep.errors import DataError

_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)"
_ROUTE = re.compile(rf"{_HOST}:(\d*):{_HOST}:(\d*)")


@dataclass(frozen=True, kw_only=True)
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
        raise DataError(f"{text!r} is not HOST1:PORT1:HOST2:PORT2, for example ::127.0.0.1:8080")
    host, port, to_host, to_port = match.groups()
    return Route(host=host.lower(), port=int(port or 0), to_host=to_host.lower(), to_port=int(to_port or 0))


def destination(host: str, port: int, routes: Sequence[Route]) -> tuple[str, int]:
    """The host and port that a request is sent to; the first route that matches decides."""
    for route in routes:
        if route.host in ("", host) and route.port in (0, port):
            return route.to_host or host, route.to_port or port
    return host, port
