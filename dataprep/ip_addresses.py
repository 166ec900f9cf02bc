"""May this address be connected to? The wall that keeps a crawler from being turned inward.

A page can name any host, and a host's DNS can answer with any address: a router, a database, a cloud's
metadata service. So the question is put to the address itself, at the moment of connecting
(see `connect.py`), never to the URL.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_6TO4 = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all global unicast that has been allocated
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380: tunnels to an address chosen by the URL's author
_METADATA = frozenset([IPv4Address("168.63.129.16")])  # Azure's host agent sits in public address space


class RefusedAddress(Exception):
    """A connection that must not be made. Not an OSError, so that no client goes on to the next address."""


@dataclass(frozen=True)
class Guard:
    """Which addresses a crawl may reach: public ones, loopback ones, both or none."""

    public: bool
    loopback: bool

    def permits(self, address: str) -> bool:
        """Whether a numeric address (an IPv6 zone is ignored) may be connected to.

        >>> Guard(public=True, loopback=False).permits("169.254.169.254")
        False
        """
        ip = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        if ip.is_loopback:
            return self.loopback
        return self.public and _is_public(ip)

    def check(self, address: str) -> None:
        """Raise RefusedAddress unless the address may be connected to."""
        if not self.permits(address):
            raise RefusedAddress(f"{address} is not an address that this crawl may connect to")

    def check_spelling(self, host: str) -> None:
        """Raise RefusedAddress when a URL's host says, as it is written, that it may not be asked for.

        All that can be checked when a proxy resolves the names: addresses, numbers that a resolver would read
        as one (`127.1`), names of this machine, and without `public` every other name.
        """
        address = numeric(host)
        if address is not None:
            return self.check(address)
        last = host.rstrip(".").rpartition(".")[2]
        permitted = self.loopback if is_loopback_host(host) else self.public
        if not permitted or last.isdecimal() or last.startswith("0x"):
            raise RefusedAddress(f"{host} is not a host that this crawl may ask a proxy for")
        return None


@lru_cache(maxsize=4096)
def numeric(host: str) -> str | None:
    """The address if a URL's host is one (brackets removed), else None: a name that DNS must resolve.

    >>> numeric("[::1]"), numeric("10.0.0.1"), numeric("example.com")
    ('::1', '10.0.0.1', None)
    """
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return None


def is_loopback_host(host: str) -> bool:
    """Whether a host is this machine by its spelling alone (RFC 6761, section 6.3, for the names)."""
    address = numeric(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return _embedded(ipaddress.ip_address(address)).is_loopback


def _embedded(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip in _6TO4:
        return IPv4Address((int(ip) >> 80) & 0xFFFFFFFF)
    return ip


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    if isinstance(ip, IPv6Address):
        return ip in _UNICAST and ip not in _TEREDO
    return ip not in _METADATA
