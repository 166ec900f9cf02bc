"""The demo's pages, rendered once for all tests here."""

from pathlib import Path

import pytest

from pipeline.demo.library import DocPage, rendered
from pipeline.demo.sites import Sites, build


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[DocPage]:
    return rendered(tmp_path_factory.mktemp("web") / "pages.jsonl")


@pytest.fixture(scope="session")
def sites(pages: list[DocPage]) -> Sites:
    return build(pages)


@pytest.fixture(scope="session")
def few_pages() -> list[DocPage]:
    """Enough made-up pages to exercise every kind of link."""
    text = "<p>" + "the quick brown fox jumps over the lazy dog. " * 200 + "</p>"
    return [
        DocPage("docs.stdlib.test", f"/page{n}.html", f"Page {n}", f"{text}<p>{n}</p>") for n in range(200)
    ]


@pytest.fixture
def pages_file(tmp_path: Path) -> Path:
    return tmp_path / "pages.jsonl"
