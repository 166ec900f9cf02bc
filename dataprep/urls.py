"""Canonical URLs: WHATWG parsing, then a short policy that has a version of its own.

Two links are one page when their canonical URLs are equal but for http and https. The policy removes what
cannot change the page (tracking parameters, fragments, default ports, spelling of percent escapes, order of
parameters) and nothing else: `?v=` on YouTube or `?id=` on Hacker News are the page.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass

import can_ada
import tldextract
import xxhash

POLICY_VERSION = 1
"""Stands in every increment; a change of any rule below raises it."""

TRACKING = frozenset(
    "_ga _gl dclid fb_action_ids fb_action_types fb_ref fb_source fbclid gclid gclsrc igsh igshid mc_cid "
    "mc_eid mkt_tok msclkid ncid oly_anon_id oly_enc_id ref_src ref_url s_cid twclid vero_id wickedid "
    "yclid".split()
)
"""Query parameters that name a campaign or a click, never a page. All of `utm_*` goes as well."""

TRACKING_ON = {"youtube.com": frozenset(["feature"]), "youtu.be": frozenset(["feature", "si"])}
"""Parameters that are tracking on one site but may be meaningful elsewhere."""

TRACKING_VALUES = {
    name: frozenset(["facebook", "feed", "hackernews", "hn", "reddit", "rss", "twitter"])
    for name in ("ref", "source", "src")
}
"""Parameters that may name a page (a branch, a file) unless their value is where the link was found."""

UNESCAPE = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
"""What Reddit escapes. A full HTML unescape would turn `?a=1&copy=2` into `?a=1©=2`."""

_ESCAPED = re.compile("|".join(UNESCAPE))
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


@dataclass(frozen=True)
class Canonical:
    """A link in canonical form.

    url: what is fetched, with the scheme that was submitted.
    key: 16 bytes, xxh3_128 of the canonical URL, the same for http and https.
    site: the registrable domain, private suffixes included; the owner of a crawl's politeness.
    """

    url: str
    key: bytes
    site: str


def canonical(raw: str) -> Canonical:
    """Canonicalise a link as it stands in a dump.

    Raises ValueError when it is not an http or https URL (WHATWG URL Standard, section 4).

    >>> canonical("HTTP://Example.com:80/a/../b?utm_source=x&b=2&amp;a=%7e#top").url
    'http://example.com/b?a=~&b=2'
    """
    text = _ESCAPED.sub(lambda match: UNESCAPE[match[0]], raw.strip())
    parsed = can_ada.parse(text)
    if parsed.protocol not in ("http:", "https:"):
        raise ValueError(f"not an http or https URL: {raw[:200]!r}")
    host = parsed.hostname.rstrip(".")
    if not host:
        raise ValueError(f"no host in URL: {raw[:200]!r}")
    site = site_of_host(host)
    port = f":{parsed.port}" if parsed.port else ""
    rest = f"{host}{port}{_percent(parsed.pathname)}{_query(parsed.search, site)}"
    return Canonical(f"{parsed.protocol}//{rest}", xxhash.xxh3_128_digest(f"https://{rest}".encode()), site)


def site_of(url: str) -> str:
    """The registrable domain of a URL's host; raises ValueError when it has none."""
    return site_of_host(can_ada.parse(url).hostname.rstrip("."))


@functools.lru_cache(maxsize=65536)
def site_of_host(host: str) -> str:
    """The registrable domain by the bundled Public Suffix List; an address or a bare name is its own site.

    >>> site_of_host("a.b.co.uk"), site_of_host("me.github.io"), site_of_host("docs.stdlib.test")
    ('b.co.uk', 'me.github.io', 'stdlib.test')
    """
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        parts = _suffixes.extract_str(host)
    if parts.suffix:
        return f"{parts.domain}.{parts.suffix}" if parts.domain else parts.suffix
    return ".".join(host.split(".")[-2:])  # a name outside the list: the list's own default rule, `*`


def _query(search: str, site: str) -> str:
    """Drop tracking parameters and sort the rest by name; values of a repeated name keep their order."""
    own = TRACKING_ON.get(site, frozenset())
    kept = []
    for pair in search.removeprefix("?").split("&"):
        name, _, value = pair.lower().partition("=")
        if not pair or name.startswith("utm_") or name in TRACKING or name in own:
            continue
        if value not in TRACKING_VALUES.get(name, ()):
            kept.append(_percent(pair))
    kept.sort(key=lambda pair: pair.partition("=")[0])
    return "?" + "&".join(kept) if kept else ""


def _percent(text: str) -> str:
    """Spell escapes in upper case and write unreserved characters plainly (RFC 3986, section 6.2.2)."""
    if "%" not in text:
        return text
    return _PERCENT.sub(
        lambda match: chr(code) if (code := int(match[1], 16)) in _UNRESERVED else match[0].upper(), text
    )
