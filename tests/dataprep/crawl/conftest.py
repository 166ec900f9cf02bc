"""What the crawler's tests share: a small web, and a crawl of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from dataprep.corpus.directory import Corpus, Increment
from dataprep.crawl import partitioning
from dataprep.crawl.partition import CrawlSettings, Fetch, Target, fetch_part
from support.crawls import loopback, targets
from support.ready_corpus import make_corpus
from support.servers.web import Web, serving


@pytest.fixture
def serve_tls() -> Callable[[ssl.SSLContext], object]:
    return serving


@pytest.fixture
def partitions_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a partition hold four links."""
    monkeypatch.setattr(partitioning, "PART_LINKS", 4)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A corpus without increments."""
    return make_corpus(tmp_path / "corpus")


@pytest.fixture
def increment(corpus: Corpus) -> Increment:
    """The first increment of the corpus, which is empty."""
    return corpus.increment("one")


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
