"""The demo's pages, rendered once for all tests here."""

from pathlib import Path

import pytest

from pipeline.demo.library import Page, rendered
from pipeline.demo.sites import Sites, build


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    return rendered(tmp_path_factory.mktemp("web") / "pages.jsonl")


@pytest.fixture(scope="session")
def sites(pages: list[Page]) -> Sites:
    return build(pages)


@pytest.fixture(scope="session")
def few_pages() -> list[Page]:
    """Enough made-up pages to exercise every kind of link."""
    text = "<p>" + "the quick brown fox jumps over the lazy dog. " * 200 + "</p>"
    return [Page("docs.stdlib.test", f"/page{n}.html", f"Page {n}", f"{text}<p>{n}</p>") for n in range(200)]


@pytest.fixture
def pages_file(tmp_path: Path) -> Path:
    return tmp_path / "pages.jsonl"
