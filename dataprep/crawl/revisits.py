"""What a crawl has already stored, so that the same bytes are archived once and asked for at most once.

Two links often lead to one page: by redirects, under several addresses, or as the same notice. A page of the
same bytes as an earlier one becomes a `revisit` record that refers to it (WARC 1.1, section 6.7). Where a
page is stored with a validator, its server is asked only for what differs (RFC 9110, section 13); a 304 is a
revisit, too. Either way the row of the link points at the record that holds the payload.
"""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

from dataprep.crawl.client import Exchange
from dataprep.crawl.targets import Fetch


class Stored:
    """Rows of pages, by their bytes and by their address.

    Memory beside the rows: a key of 16 bytes for each page, an entry for each address with a validator.
    """

    def __init__(self) -> None:
        self._by_payload: dict[bytes, Fetch] = {}
        self._by_url: dict[str, Fetch] = {}

    def add(self, row: Fetch, digest: str, encoding: str) -> None:
        """Note a page that was stored with its payload."""
        self._by_payload.setdefault(_key(digest, encoding, row.content_type), row)
        self.note([row])

    def note(self, rows: Iterable[Fetch]) -> None:
        """Note pages by their addresses alone."""
        for row in rows:
            if row.outcome == "ok" and (row.etag or row.last_modified):
                self._by_url.setdefault(row.final_url, row)

    def at(self, url: str) -> Fetch | None:
        """The page that is stored of an address, if its server gave a validator with it."""
        return self._by_url.get(url)

    def of(self, page: Exchange, digest: str) -> Fetch | None:
        """The stored page whose payload a new one repeats."""
        if page.status == 304:
            return self._by_url.get(page.url)
        return self._by_payload.get(_key(digest, page.content_encoding, page.content_type))


def _key(digest: str, encoding: str, content_type: str) -> bytes:
    """Bytes that are decoded in the same way to the same page."""
    return xxhash.xxh3_128_digest(f"{digest} {encoding.lower()} {content_type}".encode())
