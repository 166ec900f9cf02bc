"""Which captures of an archive are pages of ours: the crawler's own rules, put to a WARC record."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from dataprep.corpus.recipe import Collect
from dataprep.corpus.tombstones import NO_TOMBSTONES, REASON, Forgotten
from dataprep.corpus.urls import Canonical, canonical
from dataprep.crawl.optout import HEAD_BYTES, header_opt_out, page_opt_out
from dataprep.crawl.outcomes import outcome_of_status
from dataprep.crawl.settings import CrawlSettings
from dataprep.imports.dates import seconds
from dataprep.links.rules import refused
from dataprep.warc.content_encoding import BadEncoding, TooLarge
from dataprep.warc.http_response import media_type
from dataprep.warc.reader import WarcRecord, response_of

CRAWLER = CrawlSettings()
"""Whose types of pages and whose name, for opt-outs, hold for captures, too."""


PAGES = frozenset(["response", "resource"])
"""Kinds of records that hold a page; a resource is one without the headers of its response."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A page that an archive holds; `time` is when it was captured, in seconds since 1970.

    truncated: why the archive cut it off (`length`, `time` ...; WARC 1.1, section 5.13), else "".
    """

    link: Canonical
    time: int
    url: str
    content_type: str
    etag: str
    last_modified: str
    truncated: str


@dataclass(frozen=True)
class NoPage:
    """Why a capture is no page of ours; of `opted_out`, the signal."""

    reason: str
    signal: str = ""


def page_of(record: WarcRecord, rules: Collect, forgotten: Forgotten = NO_TOMBSTONES) -> Capture | NoPage:
    """The page of a response or resource record, or the reason why it is none."""
    try:
        link = canonical(record.url)
    except ValueError:
        return NoPage("no_link")
    if reason := refused(link, rules.links) or (REASON if forgotten.covers(link) else ""):
        return NoPage(reason)
    response = response_of(record)
    if not response.status:
        return NoPage("bad_http")
    if 300 <= response.status < 400:
        return NoPage("redirect")
    if response.status != 200:
        return NoPage(outcome_of_status(response.status))
    kind = media_type(response.content_type)
    if kind not in CRAWLER.content_types:
        return NoPage("wrong_type")
    if signal := header_opt_out(response.fields, CRAWLER.agent):
        return NoPage("opted_out", signal)
    try:
        page = response.page(rules.crawl.max_bytes)
    except TooLarge:
        return NoPage("too_large")
    except BadEncoding:
        return NoPage("bad_encoding")
    if kind != "text/plain" and (signal := page_opt_out(page[:HEAD_BYTES], CRAWLER.agent)):
        return NoPage("opted_out", signal)
    return Capture(
        link=link,
        time=seconds(record.date),
        url=record.url,
        content_type=kind,
        etag=response.header("etag"),
        last_modified=response.header("last-modified"),
        truncated=record.fields.get("warc-truncated", ""),
    )


def is_robots_txt(link: Canonical) -> bool:
    """Whether a URL is a site's robots.txt: archives keep these beside pages, and they are no documents."""
    return urlsplit(link.url).path == "/robots.txt"
