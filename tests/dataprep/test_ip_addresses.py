from __future__ import annotations

import pytest

from dataprep.ip_addresses import Guard, is_loopback_host

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"]
INWARD = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::10.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2001::1",
    "2001:db8::1",
    "2002:0a00:0001::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address: str) -> None:
    assert Guard(public=True, loopback=False).permits(address)


@pytest.mark.parametrize("address", INWARD)
def test_an_inward_address_is_refused_whatever_the_flags(address: str) -> None:
    assert not Guard(public=True, loopback=True).permits(address)


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_needs_its_flag(address: str) -> None:
    assert not Guard(public=True, loopback=False).permits(address)
    assert Guard(public=True, loopback=True).permits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_crawl_without_contact_reaches_loopback_only(address: str) -> None:
    assert not Guard(public=False, loopback=True).permits(address)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("example.com", False),
    ],
)
def test_loopback_hosts_are_known_by_their_spelling(host: str, loopback: bool) -> None:
    assert is_loopback_host(host) is loopback
