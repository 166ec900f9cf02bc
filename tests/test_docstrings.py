"""The examples in docstrings are true, and the files that a package's docstring names are there."""

from __future__ import annotations

import doctest
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CONFIGURATION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PACKAGES = CONFIGURATION["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
WITH_EXAMPLES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in FILES
    if ">>> " in path.read_text()
]
OVERVIEWS = [path for path in FILES if path.name == "__init__.py"]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module_are_true(module: str) -> None:
    ended = doctest.testmod(import_module(module.removesuffix(".__init__")))
    assert ended.attempted
    assert not ended.failed


def test_the_files_that_a_package_s_docstring_names_are_there() -> None:
    named = [
        (path.parent, name) for path in OVERVIEWS for name in re.findall(r"`(\w+\.py)`", path.read_text())
    ]
    assert named
    assert [(folder, name) for folder, name in named if not (folder / name).exists()] == []
