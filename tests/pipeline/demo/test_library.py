"""The pages hold real prose, the same each time, and nothing of this machine."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import trafilatura

from pipeline.demo.library import DocPage, rendered

pytestmark = pytest.mark.slow(8)


def test_there_are_hundreds_of_distinct_pages_with_megabytes_of_text(pages: list[DocPage]) -> None:
    assert len({page.html for page in pages}) >= 300
    assert len({page.url for page in pages}) == len(pages)
    assert sum(len(page.html) for page in pages) > 5_000_000


def test_text_comes_out_as_prose(pages: list[DocPage]) -> None:
    some = random.Random(0).sample([page for page in pages if len(page.html) > 3_000], 30)
    for page in some:
        text = trafilatura.extract(page.html, favor_precision=True, include_comments=False)
        assert text, page.url
        assert len(text) > 0.4 * len(page.html), page.url


def test_no_page_shows_a_path_or_an_address_of_this_machine(pages: list[DocPage]) -> None:
    for page in pages:
        assert " at 0x7" not in page.html, page.url
        for path in (sys.prefix, sys.base_prefix, str(Path.home())):
            assert path in ("/", "/usr", "/usr/local") or path not in page.html, page.url


def test_pages_are_the_same_bytes_from_another_directory(tmp_path: Path, pages_file: Path) -> None:
    once = rendered(pages_file, small=True)
    other = tmp_path / "again.jsonl"
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "pipeline.demo.library", str(other), "--small"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert other.read_bytes() == pages_file.read_bytes()
    assert len(once) >= 100


def test_rendered_pages_are_kept(pages_file: Path) -> None:
    pages_file.write_text('{"host": "a.test", "path": "/", "title": "T", "html": "<p>x</p>"}\n')
    assert rendered(pages_file) == [DocPage("a.test", "/", "T", "<p>x</p>")]
