"""The suite about itself: `make quick` enters every room, long tests are named, waits are scaled."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.patience import wait_until
from support.still_running import StillRunning

REPOSITORY = Path(__file__).parents[1]
TESTS = REPOSITORY / "tests"
CONFIGURATION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PACKAGES = CONFIGURATION["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
FILES = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
ROOMS = sorted({path.parent for path in FILES if path.name != "__init__.py"})


@pytest.fixture(scope="module")
def entered() -> set[Path]:
    """Rooms that `make quick` enters, by an example in a docstring or a test for them or of their code."""
    with_examples = {path.parent for path in FILES if ">>> " in path.read_text()}
    return with_examples.union(*map(rooms_of, TESTS.rglob("test_*.py")))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(REPOSITORY)))
def test_quick_enters_every_room(entered: set[Path], room: Path) -> None:
    assert room in entered, "give a test of it that is not marked slow, or an example in a docstring"


def rooms_of(test: Path) -> Iterator[Path]:
    """The rooms that a file of tests is about, if one of its tests is not slow."""
    tree = ast.parse(test.read_text())
    tests = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    quick = [node for node in tests if "mark.slow" not in "".join(map(ast.unparse, node.decorator_list))]
    marked = [node for node in tree.body if isinstance(node, ast.Assign) and "mark.slow" in ast.unparse(node)]
    if marked or not quick:
        return
    mirrored = REPOSITORY / test.relative_to(TESTS).parent
    yield mirrored
    yield mirrored / test.stem.removeprefix("test_")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield from room_of_module(f"{node.module}.{alias.name}", str(node.module))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from room_of_module(alias.name)


def room_of_module(*names: str) -> Iterator[Path]:
    """The room of the first of these that is a module of ours."""
    paths = [REPOSITORY.joinpath(*name.split(".")) for name in names]
    yield from [path.parent for path in paths if path.with_suffix(".py").exists()][:1]


def test_a_test_that_runs_long_is_named_until_it_ends() -> None:
    said: list[str] = []
    plugin = StillRunning(said.append, after_s=0.02)
    plugin.pytest_runtest_logstart("tests/test_x.py::test_short")
    plugin.pytest_runtest_logfinish("tests/test_x.py::test_short")
    plugin.pytest_runtest_logstart("tests/test_x.py::test_long")
    plugin.pytest_sessionstart()
    wait_until(lambda: len(said) >= 2, "a second time")
    plugin.pytest_sessionfinish()
    assert all(line.endswith("tests/test_x.py::test_long\n") for line in said)


def test_every_wait_has_a_bound_that_the_one_factor_scales() -> None:
    """That is, none has a bound of its own: `patient(...)` stands wherever seconds could."""
    bound = re.compile(r"(?<!\w)timeout=\d|\.(wait|join|settimeout)\(\d|monotonic\(\) \+ \d")
    lines = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in TESTS.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bound.search(line)
    ]
    assert lines == []


def test_no_file_of_tests_imports_a_slow_package_before_its_tests_run() -> None:
    """Each worker imports every file of tests: the tests that need such a package import it themselves."""
    slow = re.compile(
        r"^(from|import) (datasets|lm_eval|pandas|rouge_score|sacrebleu|scipy|sklearn|transformers|wandb"
        r"|torch\._dynamo)\b",
        re.MULTILINE,
    )
    found = [path for path in TESTS.rglob("test_*.py") if slow.search(path.read_text())]
    assert [str(path.relative_to(TESTS)) for path in found] == []
