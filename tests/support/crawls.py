"""Crawls of a server on loopback, to which every name leads."""

from __future__ import annotations

from typing import Any

import xxhash

from dataprep.corpus.directory import Corpus
from dataprep.corpus.urls import site_of
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Target
from dataprep.store.files import read_table
from support.patience import patient

SITES = {"long.test": 15, **{f"short-{n}.test": 4 for n in range(6)}}
"""Links of each site. Where a partition has six links, there is one giant in three partitions, and each other
site has a partition of its own."""
PAGE = "<html><head><title>T</title></head><body><article><p>{}</p></article></body></html>"
PROSE = "The harbour of {0} is quiet in winter, and the boats lie still under the snow. " * 8


def page(url: object) -> str:
    """A page with text enough to be kept, which differs from all others."""
    return PAGE.format(PROSE.format(url))


def loopback(port: int, **changes: Any) -> CrawlSettings:
    """Settings under which nothing waits and nothing is tried again."""
    settings = CrawlSettings(
        min_pages=0,  # servers of tests mostly fail
        allow_loopback=True,
        connect_to=(f"::127.0.0.1:{port}",),
        delay_s=0,
        retries=0,
        backoff_s=0,
        connect_timeout_s=patient(60),
        read_timeout_s=patient(60),
        total_timeout_s=patient(60),
    )
    return settings.model_copy(update=changes)


def targets(*urls: str) -> list[Target]:
    return [Target(url, xxhash.xxh3_128_digest(url.encode()), site_of(url)) for url in urls]


def rows(corpus: Corpus) -> dict[str, list[tuple[str, str]]]:
    """The URLs and outcomes of each partition of the only increment."""
    (increment,) = corpus.increments()
    return {
        record.part: [
            (row["url"], row["outcome"])
            for row in read_table(corpus.root, [record.outputs["fetches"]]).to_pylist()
        ]
        for record in increment.records("fetch")
    }
