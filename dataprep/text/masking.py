"""E-mail and public IP addresses out of a text: each becomes one that is reserved for documentation.

What stands for them is fixed, so masking is deterministic, and masking twice changes nothing. Masked are
e-mail addresses outside example.com, .org and .net (RFC 2606), and IPv4 and IPv6 addresses that are public:
loopback, private and documentation addresses name nobody. A number of four parts is a version, not an
address, when what stands around it says so; without any such word it is taken for an address.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from dataprep.ip_addresses import Guard

VERSION = 1
"""Raised by every change of what is masked, or by what; part of a build's name."""

EMAIL, IPV4, IPV6 = "email@example.com", "192.0.2.1", "2001:db8::1"
"""What stands for an address afterwards (RFC 2606, RFC 5737 and RFC 3849)."""

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w+%-][\w.+%-]{0,63}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_RESERVED = re.compile(r"@(?:.+\.)?example\.(?:com|org|net)$", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\w|-[A-Za-z])")
_IPV6 = re.compile(
    r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{1,34}(?:(?:\d{1,3}\.){3}\d{1,3})?(?![\w:]|\.\w)"
)

_NUMBERS = r"(?:v?\d[\w.]*\s*(?:,|-|–|&|and|or|to|through)\s*){0,8}"
_VERSION_BEFORE = re.compile(
    r"(?:(?:§|\b(?:v|ver|versions?|releases?|released|rel|builds?|rev|revisions?|updated?|upgraded?|patch|firmware|driver|"
    r"kernel|sections?|sec|chapters?|clauses?|paragraphs?|figures?|tables?|appendix))[.:#=]?\s*"
    + _NUMBERS
    + r"v?"
    r"|(?<![/:])\b[A-Za-z][\w+]*[/_-]v?)$",
    re.IGNORECASE,
)
"""`version 1.2.3.4`, `versions 1.2.3.4 and 1.2.3.5`, `Chrome/91.0.44.124`, `name-1.2.3.4`."""
_VERSION_AFTER = re.compile(
    r"\s*(?:\+|-?(?:alpha|beta|rc|release)\b|(?:and|or)\s+(?:later|newer|older|above|higher|earlier|below|up)\b)",
    re.IGNORECASE,
)
_BEFORE, _AFTER = 120, 24
"""Characters around a number that are looked at."""

_public = Guard(public=True, loopback=False).permits


def mask(text: str, kinds: Collection[str]) -> tuple[str, dict[str, int]]:
    """The text without addresses of some kinds (`KINDS`), and how many of each were replaced.

    >>> mask("Ask ann@firm.co.uk, or 8.8.4.4 (version 1.2.3.4), not 10.0.0.1.", ["email", "ip"])
    ('Ask email@example.com, or 192.0.2.1 (version 1.2.3.4), not 10.0.0.1.', {'email': 1, 'ip': 1})
    """
    counts: Counter[str] = Counter()
    for kind in KINDS:
        if kind in kinds:
            text = _MASKS[kind](text, counts)
    return text, dict(counts)


def _mask_email(text: str, counts: Counter[str]) -> str:
    if "@" not in text:
        return text

    def masked(match: re.Match[str]) -> str:
        if _RESERVED.search(match[0]):
            return match[0]
        counts["email"] += 1
        return EMAIL

    return _EMAIL.sub(masked, text)


def _mask_ip(text: str, counts: Counter[str]) -> str:
    def masked_4(match: re.Match[str]) -> str:
        if not _is_public(IPv4Address, match[0]) or _is_version(text, match):
            return match[0]
        counts["ip"] += 1
        return IPV4

    def masked_6(match: re.Match[str]) -> str:
        number = match[0].rstrip(":") if not match[0].endswith("::") else match[0]
        if not _is_public(IPv6Address, number):
            return match[0]
        counts["ip"] += 1
        return IPV6 + match[0][len(number) :]

    text = _IPV6.sub(masked_6, text)  # before IPv4, which may stand at the end of one
    return _IPV4.sub(masked_4, text)


def _is_public(kind: type[IPv4Address] | type[IPv6Address], number: str) -> bool:
    try:
        return _public(str(kind(number)))
    except AddressValueError:
        return False


def _is_version(text: str, match: re.Match[str]) -> bool:
    before, after = text[max(0, match.start() - _BEFORE) : match.start()], text[match.end() :][:_AFTER]
    return bool(_VERSION_BEFORE.search(before) or _VERSION_AFTER.match(after))


_MASKS: dict[str, Callable[[str, Counter[str]], str]] = {"email": _mask_email, "ip": _mask_ip}
KINDS = tuple(_MASKS)
"""What can be masked."""
