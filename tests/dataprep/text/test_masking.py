"""Which addresses are masked, and which numbers that look like one are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.text.masking import EMAIL, IPV4, IPV6, KINDS, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to ann.lee+news@mail.example-firm.co.uk today", f"write to {EMAIL} today"),
        ("<mailto:x_1@y.io>, b%c@d.museum.", f"<mailto:{EMAIL}>, {EMAIL}."),
        ("jörg@müller.de und 小明@例子.中国", f"{EMAIL} und {EMAIL}"),
        ("you@example.com, me@mail.example.org", "you@example.com, me@mail.example.org"),
        (
            "@media, user@localhost, a@b, x@1.2, git @ home.org",
            "@media, user@localhost, a@b, x@1.2, git @ home.org",
        ),
        ("at 93.184.216.34, 8.8.8.8.", f"at {IPV4}, {IPV4}."),
        ("http://93.184.216.34:8080/x and 93.184.216.0/24", f"http://{IPV4}:8080/x and {IPV4}/24"),
        ("(93.184.216.34)\n93.184.216.34\tGET", f"({IPV4})\n{IPV4}\tGET"),
        ("user@93.184.216.34 ip=93.184.216.34", f"user@{IPV4} ip={IPV4}"),
        ("93.184.216.34-93.184.216.40", f"{IPV4}-{IPV4}"),
        ("2606:2800:220:1:248:1893:25c8:1946", IPV6),
        ("[2606:4700::1111]:443, see 2606:4700::: no", f"[{IPV6}]:443, see 2606:4700::: no"),
        ("from 2606:4700::1111: hello", f"from {IPV6}: hello"),
        ("net 2606:4700:: is", f"net {IPV6} is"),
        ("2a00:1450:4001:81b::93.184.216.34 x", f"{IPV6} x"),
    ],
)
def test_addresses_of_people_and_machines_are_masked(text: str, masked: str) -> None:
    assert mask(text, KINDS)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4", "Version: 10.4.11.3", "v1.2.3.4", "(v 1.2.3.4)", "ver. 1.2.3.4", "rel 5.1.2.60",
        "versions 1.2.3.4, 1.2.3.5 and 1.2.3.6", "build 7.0.1.9", "firmware 2.0.0.12", "Chrome/91.0.44.124",
        "libfoo-1.2.3.4", "libfoo-1.2.3.4.tar.gz", "foo_1.2.3.4_amd64", "1.2.3.4-beta", "1.2.3.4rc1",
        "1.2.3.4 or later", "1.2.3.4 beta", "Section 4.1.2.3", "§ 4.1.2.3", "1.2.3.4.5", "1.2.3", "0.1.2.3.4",
        "1234.5.6.7", "256.1.1.1", "01.02.03.04", "3.14159.26.5",
        "127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "169.254.169.254", "0.0.0.0", "255.255.255.0",
        "192.0.2.7", "198.51.100.1", "224.0.0.1",
        "::1", "fe80::1", "fc00::1", "2001:db8::8a2e:370:7334", "::", "ff02::1",
        "std::vector", "2010::new", "12:30:45", "2013:08:01", "00:1a:2b:3c:4d:5e", "2:1 3:2", "2001:0:1",
        "https://a.test/download/1.2.3.4abc",
    ],
)  # fmt: skip
def test_versions_and_numbers_of_nobody_stay(text: str) -> None:
    for around in ("{}", "See {}, please.", "({})", "\n{}\n"):
        assert mask(around.format(text), KINDS) == (around.format(text), {})


def test_only_what_is_asked_for_is_masked_and_counted() -> None:
    text = "a@b.org, c@d.org at 8.8.8.8 and 2606:4700::1111"
    assert mask(text, []) == (text, {})
    assert mask(text, ["email"]) == (f"{EMAIL}, {EMAIL} at 8.8.8.8 and 2606:4700::1111", {"email": 2})
    assert mask(text, ["ip"]) == (f"a@b.org, c@d.org at {IPV4} and {IPV6}", {"ip": 2})


_PIECES = st.sampled_from(
    [
        "a",
        "9",
        ".",
        "@",
        ":",
        "::",
        " ",
        "-",
        "/",
        "v",
        "8.8.8.8",
        "93.184.216.34",
        "b@c.org",
        "2606:4700",
        "é",
        "1",
    ]
)


@given(st.lists(_PIECES, max_size=30).map("".join) | st.text(max_size=80))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once, _ = mask(text, KINDS)
    assert mask(once, KINDS) == (once, {})
