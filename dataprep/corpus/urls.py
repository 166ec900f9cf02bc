"""Canonical URLs: WHATWG parsing, then a short policy that has a version of its own.

Two links are one page when their canonical URLs are equal but for http and https. The policy removes what
cannot change the page (tracking parameters, session ids, fragments, default ports, spelling of percent
escapes, order of parameters) and nothing else: `?v=` on YouTube or `?id=` on Hacker News are the page.
What often is one page but need not be (www., m., index.html, a trailing slash) is left alone.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING

import can_ada
import msgspec
import xxhash

if TYPE_CHECKING:
    from tldextract import TLDExtract

POLICY_VERSION = 2
"""Stands in every increment; a change of any rule below raises it."""

TRACKING = frozenset(
    "__hsfp __hssc __hstc _branch_match_id _ga _gac _gl _hsenc _hsmi _ke _kx _openstat action_object_map "
    "action_ref_map action_type_map dclid ef_id epik fb_action_ids fb_action_types fb_ref fb_source fbclid "
    "gad_source gbraid gclid gclsrc guccounter guce_referrer guce_referrer_sig hsctatracking igsh igshid "
    "jsessionid li_fat_id mc_cid mc_eid mkt_tok ml_subscriber ml_subscriber_hash msclkid ncid oly_anon_id "
    "oly_enc_id phpsessid pk_campaign pk_kwd pk_medium pk_source piwik_campaign piwik_kwd rb_clickid ref_src "
    "ref_url s_cid s_kwcid sc_campaign sc_channel sccid srsltid ttclid twclid vero_conv vero_id wbraid "
    "wickedid wt.mc_id wt.z_mc xtor yclid ysclid".split()
)
"""Query parameters that name a campaign, a click or a visitor's session, never a page."""

TRACKING_PREFIXES = ("utm_", "mtm_", "hsa_", "aspsessionid")
"""Families of such parameters."""

TRACKING_ON = {
    "bbc.co.uk": frozenset(["ocid"]),
    "bbc.com": frozenset(["ocid"]),
    "facebook.com": frozenset(["__tn__", "__xts__", "fref", "hc_location", "hc_ref", "mibextid"]),
    "linkedin.com": frozenset(["lipi", "trk", "trkinfo"]),
    "nytimes.com": frozenset(["_r", "emc", "hp", "partner", "smid", "smtyp", "src"]),
    "theguardian.com": frozenset(["cmp"]),
    "twitter.com": frozenset(["s", "t"]),
    "x.com": frozenset(["s", "t"]),
    "youtu.be": frozenset(["feature", "si"]),
    "youtube.com": frozenset(["ab_channel", "feature", "pp", "si"]),
}
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
_SESSION = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)
_PLAIN = re.compile(r"(https?)://([a-z0-9.-]*\.[a-z]+)/[A-Za-z0-9_~!$'()*+,:=@/.-]*")
"""A URL without anything that the parser or the policy could change, dot segments and IDNA forms aside."""


class Canonical(msgspec.Struct, frozen=True, gc=False):
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
    if (plain := _PLAIN.fullmatch(raw)) and "/." not in raw and "xn--" not in plain[2]:
        return _named(raw, plain[1], plain[2])
    parsed = _parse(_unescaped(raw.strip()))
    if parsed.protocol not in ("http:", "https:"):
        raise ValueError(f"not an http or https URL: {raw[:200]!r}")
    host = parsed.hostname.rstrip(".")
    if not host:
        raise ValueError(f"no host in URL: {raw[:200]!r}")
    page = _SESSION.sub("", _percent(parsed.pathname))
    port = f":{parsed.port}" if parsed.port else ""
    query = _query(parsed.search, site_of_host(host))
    url = f"{parsed.protocol}//{host}{port}{page}{query}{_route(parsed.hash)}"
    if host != parsed.hostname or page != parsed.pathname or url != _unescaped(url):
        return canonical(url)  # removing one thing can bring the parts of another together
    return _named(url, parsed.protocol[:-1], host)


def site_of(url: str) -> str:
    """The registrable domain of a URL's host; raises ValueError when it has none."""
    return site_of_host(_parse(url).hostname.rstrip("."))


@functools.lru_cache(maxsize=65536)
def site_of_host(host: str) -> str:
    """The registrable domain by the bundled Public Suffix List; an address or a bare name is its own site.

    >>> site_of_host("a.b.co.uk"), site_of_host("me.github.io"), site_of_host("docs.stdlib.test")
    ('b.co.uk', 'me.github.io', 'stdlib.test')
    """
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        parts = _suffixes().extract_str(host)
    if parts.suffix:
        return f"{parts.domain}.{parts.suffix}" if parts.domain else parts.suffix
    return ".".join(host.split(".")[-2:])  # a name outside the list: the list's own default rule, `*`


def is_public_suffix(host: str) -> bool:
    """Whether the bundled list has a name as a public suffix: each name below it is a site of its own.

    >>> [is_public_suffix(name) for name in ("co.uk", "github.io", "me.github.io", "stdlib.test")]
    [True, True, False, False]
    """
    parts = _suffixes().extract_str(host)
    return bool(parts.suffix) and not parts.domain


def names_above(site: str) -> list[str]:
    """The names of which a site is part, the nearest first.

    >>> names_above("me.blogspot.co.uk"), names_above("localhost")
    (['blogspot.co.uk', 'co.uk', 'uk'], [])
    """
    labels = site.split(".")
    return [".".join(labels[first:]) for first in range(1, len(labels))]


@functools.cache
def _suffixes() -> TLDExtract:
    from tldextract import TLDExtract  # with an HTTP client, for lists that we do not fetch: slow to import

    return TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


def _parse(text: str) -> can_ada.URL:
    try:
        return can_ada.parse(text)
    except TypeError:  # half of a surrogate pair
        raise ValueError(f"not a URL: {text[:200]!r}") from None


def _named(url: str, scheme: str, host: str) -> Canonical:
    secure = url if scheme == "https" else f"https{url[4:]}"
    return Canonical(url, xxhash.xxh3_128_digest(secure.encode()), site_of_host(host))


def _unescaped(text: str) -> str:
    """Undo Reddit's escapes, also where they were applied twice."""
    while "&" in text and text != (once := _ESCAPED.sub(lambda match: UNESCAPE[match[0]], text)):
        text = once
    return text


def _query(search: str, site: str) -> str:
    """Drop tracking parameters and sort the rest by name; values of a repeated name keep their order."""
    own = TRACKING_ON.get(site, frozenset())
    kept = []
    for pair in _percent(search.removeprefix("?")).split("&"):
        name, _, value = pair.lower().partition("=")
        if not pair or name in TRACKING or name in own or name.startswith(TRACKING_PREFIXES):
            continue
        if value not in TRACKING_VALUES.get(name, ()):
            kept.append(pair)
    kept.sort(key=lambda pair: pair.partition("=")[0])
    return "?" + "&".join(kept) if kept else ""


def _route(fragment: str) -> str:
    """A fragment that names a page (`#!/user`, the AJAX crawling scheme of 2009); others are places in it."""
    return _percent(fragment) if fragment.startswith("#!") and len(fragment) > 2 else ""


def _percent(text: str) -> str:
    """Spell escapes in upper case and write unreserved characters plainly (RFC 3986, section 6.2.2).

    Until nothing changes: `%%61a` is `%aa`, an escape again.
    """

    def spelt(match: re.Match[str]) -> str:
        code = int(match[1], 16)
        return chr(code) if code in _UNRESERVED else match[0].upper()

    while "%" in text and text != (once := _PERCENT.sub(spelt, text)):
        text = once
    return text


def key_of(url: str) -> bytes:
    """The url_key of a URL as a user writes it, `file:NAME#ROW` of imported files included."""
    try:
        return canonical(url).key
    except ValueError:
        return xxhash.xxh3_128_digest(url.encode())
