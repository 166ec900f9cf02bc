"""What every command shares: help, the version, and errors for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.app import app
from support.cli import command_tree, run


def test_the_version_is_that_of_the_installed_package() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"outbound {version('outbound-gpt')}\n")


def commands(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(tree, "commands", {}).items():
        yield from commands(inner, (*path, name))


@pytest.mark.slow(2)
def test_every_command_shows_its_help_for_h() -> None:
    paths = list(commands(command_tree(app)))
    assert ("corpus", "trace") in paths
    for path in paths:
        ended = run(*path, "-h")
        assert (ended.returncode, "Usage: " in ended.stdout) == (0, True), path


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["corpus", "status", "{}/none"], 1, "no corpus here"),
        (["recipes", "nonsense"], 2, "`outbound recipes` lists them"),
        (["corpus", "trace", "{}", "--splitt", "val"], 2, "No such option: --splitt"),
        (["corpus", "status"], 2, "directory"),
        (
            ["pack", "{}", "--tokenizer", "t", "-o", "o", "--held-out", "many"],
            2,
            "Invalid value for '--held-out'",
        ),
    ],
)
def test_with_json_an_error_is_one_object_on_stdout(
    tmp_path: Path, words: list[str], code: int, part: str
) -> None:
    ended = run(*(word.format(tmp_path) for word in words), "--json")
    error = json.loads(ended.stdout)
    assert (ended.returncode, error["code"]) == (code, code)
    assert part in error["error"]
    assert f"error: {error['error']}" in ended.stderr
    assert run(*(word.format(tmp_path) for word in words)).stdout == ""
