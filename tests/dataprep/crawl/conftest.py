"""What the crawler's tests share: a small web, and a crawl of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from dataprep.crawl.partition import CrawlSettings, Fetch, Target, fetch_part
from support.crawls import loopback, targets
from support.servers.web import Web, serving


@pytest.fixture
def serve_tls() -> Callable[[ssl.SSLContext], object]:
    return serving


Crawl = Callable[..., list[Fetch]]


@pytest.fixture
def settings(site: Web) -> CrawlSettings:
    return loopback(site.port, max_wire_bytes=200_000, max_page_bytes=1_000_000)


@pytest.fixture
def crawl(tmp_path: Path, settings: CrawlSettings) -> Crawl:
    """Crawl URLs into tmp_path/pages; keyword arguments change settings."""

    def run(*urls: str, **changes: object) -> list[Fetch]:
        changed = settings.model_copy(update=changes)
        return fetch_part("part", targets(*urls), tmp_path / "pages", changed, lambda _: None)

    return run


@pytest.fixture
def as_targets() -> Callable[..., list[Target]]:
    return targets
