"""Files that the pages name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLDERS = "benchmarks|configs|dataprep|docs|model|pipeline|slurm|tests"
PAGES = [
    *REPOSITORY.glob("*.md"),
    *(page for folder in FOLDERS.split("|") for page in REPOSITORY.glob(f"{folder}/**/*.md")),
]
PATH = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./*-]+[\w*]|\]\((?!\w+:)([^)#]+)")
"""A path from the repository's root, or the target of a relative link."""


def paths(page: Path) -> list[tuple[Path, str]]:
    """Folder and pattern of each; NAME stands for any name, and nothing is asked of `{a,b}`."""
    return [
        (page.parent, found[1]) if found[1] else (REPOSITORY, found[0].replace("NAME", "*"))
        for found in PATH.finditer(page.read_text())
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    lacking = [path for folder, path in paths(page) if not any(folder.glob(path))]
    assert lacking == []


def test_paths_are_found_in_pages() -> None:
    assert sum(len(paths(page)) for page in PAGES) > 50
