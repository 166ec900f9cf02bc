"""How far a command is, where stderr is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.cli import app
from support.patience import wait_until


@pytest.mark.parametrize(
    ("total", "line"),
    [(8, "extract: 2 of 8 parts in 0 s, about 0 s left"), (None, "extract: 2 parts in 0 s")],
)
def test_long_work_prints_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, total: int | None, line: str
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(app, "console", Console(file=printed))
    monkeypatch.setattr(app, "LINE_EVERY_S", 0.02)
    with app.progress("extract", total, "parts") as advance:
        wait_until(lambda: "extract: 0" in printed.getvalue(), "a line before the first part", 0.01)
        advance(2)
        wait_until(lambda: line in printed.getvalue().splitlines(), "a line after two", 0.01)
    assert "2/" in printed.getvalue().splitlines()[-1], "the bar at the end"
