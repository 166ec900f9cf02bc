"""Crawls of a server on loopback, to which every name leads."""

from __future__ import annotations

from typing import Any

import xxhash

from dataprep.corpus.urls import site_of
from dataprep.crawl.settings import CrawlSettings
from dataprep.crawl.targets import Target
from support.patience import patient


def loopback(port: int, **changes: Any) -> CrawlSettings:
    """Settings under which nothing waits and nothing is tried again."""
    settings = CrawlSettings(
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
