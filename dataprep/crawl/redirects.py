"""Where a redirect leads."""

from __future__ import annotations

from urllib.parse import quote, urljoin

import can_ada

from dataprep.crawl.outcomes import NotFetched

REDIRECT_STATUSES = frozenset([301, 302, 303, 307, 308])

_ASCII = bytes(range(128))


def followed(url: str, location: str) -> str:
    """The absolute address of a redirect, without its fragment; raises NotFetched when it is unusable.

    location: the header as aiohttp decodes it, with a surrogate for each byte that is not UTF-8.

    >>> followed("http://a.test/b/c?d", "../é f#g"), followed("http://a.test/", "caf\\udce9")
    ('http://a.test/%C3%A9%20f', 'http://a.test/caf%E9')
    """
    ascii_only = quote(location.encode("utf-8", "surrogateescape"), safe=_ASCII)
    try:
        parsed = can_ada.parse(urljoin(url, ascii_only))
    except ValueError as error:
        raise NotFetched("bad_url", f"redirect to {ascii_only[:200]!r}: {error}") from None
    if parsed.protocol not in ("http:", "https:"):
        raise NotFetched("bad_url", f"redirect to {ascii_only[:200]!r}")
    parsed.hash = ""
    return str(parsed.href)
