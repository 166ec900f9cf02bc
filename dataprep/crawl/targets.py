"""What goes into a crawl and what comes out: one Fetch for each Target."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Target:
    """A page to fetch. `url_key` is 16 bytes and unique in a part; `site` is the registrable domain.

    first_seen: when the link was submitted, in seconds since 1970.
    original: the link of which `url` is an archive's copy, else "".
    """

    url: str
    url_key: bytes
    site: str
    first_seen: int = 0
    original: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """How a target ended; a row of fetch/*.parquet.

    outcome: a word of `outcomes.OUTCOMES`; detail says more about it, for people.
    status: HTTP status of the last response, 0 if there was none.
    url, site: the link, and the site that was asked for it: its own, or an archive.
    final_url: where redirects led, an archive's address for its copy of a dead link; for `moved`, the address
    off the site that is left to its owner.
    warc_file, warc_offset, warc_length: the page's response record, for `ok` only; else "", 0, 0.
    truncated: why an archive holds only the beginning of the page (its record's WARC-Truncated), else "".
    """

    url: str
    url_key: bytes
    site: str
    outcome: str
    status: int = 0
    final_url: str = ""
    content_type: str = ""
    warc_file: str = ""
    warc_offset: int = 0
    warc_length: int = 0
    etag: str = ""
    last_modified: str = ""
    detail: str = ""
    truncated: str = ""


SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("url_key", pa.binary(16)),
        ("site", pa.string()),
        ("outcome", pa.string()),
        ("status", pa.int32()),
        ("final_url", pa.string()),
        ("content_type", pa.string()),
        ("warc_file", pa.string()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("detail", pa.string()),
        ("truncated", pa.string()),
    ]
)
"""A Fetch as a row, with the WARC file's path relative to the corpus."""


def row(fetch: Fetch, pages: str) -> dict[str, Any]:
    """A fetch as a row of SCHEMA; pages: the directory of its WARC file, relative to the corpus."""
    return asdict(fetch) | {"warc_file": f"{pages}/{fetch.warc_file}" if fetch.warc_file else ""}
