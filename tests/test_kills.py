"""The helpers of tests that kill tell a kill from a mistake and from a child that was done before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.kills import die_before, die_within, kill, killed


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_child_that_waits_is_killed() -> None:
    kill(python("input()"))


@pytest.mark.parametrize("code", ["", "raise SystemExit(3)"])
def test_a_child_that_has_ended_by_itself_was_not_killed(code: str) -> None:
    child = python(code)
    child.wait()
    with pytest.raises(AssertionError):
        kill(child)


def test_work_is_killed_before_the_call_of_its_number_or_comes_to_its_end(tmp_path: Path) -> None:
    def work(call: int) -> None:
        die_before(call, os, "mkdir", "rmdir")
        for name in "abc":
            os.mkdir(tmp_path / str(call) / name)

    for call, made in ((1, 0), (3, 2), (4, 3)):
        (tmp_path / str(call)).mkdir()
        assert killed(work, call) is (made < 3)
        assert len(list((tmp_path / str(call)).iterdir())) == made


def test_work_that_never_ends_is_killed_by_the_clock() -> None:
    def work() -> None:
        die_within(0.01)
        while True:
            pass

    assert killed(work)


def test_work_that_fails_by_itself_is_no_kill(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise AttributeError("a mistake")

    with pytest.raises(AssertionError, match="ended by itself with 1"):
        killed(work)
    assert "AttributeError: a mistake" in capfd.readouterr().err
