"""What lost nodes cost: the formula against a run that is played through, the page against the command."""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path

import pytest

from pipeline.plan.failures import Failures
from support.cli import run
from support.pages import commands

REPOSITORY = Path(__file__).parents[3]
PAGE = "docs/scale.md"


@pytest.mark.parametrize("interval_s", [300, 1200, 3600])
def test_the_useful_share_is_that_of_a_run_that_is_played_through(interval_s: float) -> None:
    failures = Failures(apart_s=3600, restart_s=600, save_s=20)
    saved, segments, draw = 0.0, 20_000, random.Random(0).expovariate
    for _ in range(segments):
        while (lived := draw(1 / failures.apart_s)) < interval_s + failures.save_s:
            saved += lived
            while (lived := draw(1 / failures.apart_s)) < failures.restart_s:
                saved += lived
            saved += failures.restart_s
        saved += interval_s + failures.save_s
    assert failures.useful(interval_s) == pytest.approx(segments * interval_s / saved, rel=0.03)


@pytest.mark.parametrize("save_s", [1, 20, 300, 20_000])
def test_no_other_interval_is_much_better_than_the_best(save_s: float) -> None:
    failures = Failures(apart_s=3600, restart_s=600, save_s=save_s)
    found = failures.useful(failures.best_interval_s)
    assert found == pytest.approx(max(failures.useful(10 * n) for n in range(1, 2000)), rel=0.01)


@pytest.mark.slow(3)
def test_the_page_on_scale_has_what_its_commands_print() -> None:
    page = (REPOSITORY / PAGE).read_text()
    default, tuned = (rows(command) for command in commands(PAGE))
    assert len(default) == 6
    for (every, lost, in_vain, days, steps), (_, less, _, fewer, _) in zip(default[:5], tuned, strict=False):
        shares = [f"{float(share):.0f} %" for share in (lost, less, in_vain)]
        row = [f"{every} min", steps, shares[0], days, shares[1], fewer, shares[2]]
        assert f"\n| {' | '.join(row)} |\n" in page


def rows(command: str) -> list[tuple[str, ...]]:
    """Minutes, percent of the time lost, percent of the starts in vain, days, and steps of an interval."""
    given = [f"{REPOSITORY}/{word}" if word.startswith("configs/") else word for word in shlex.split(command)]
    ended = run(*given[1:])
    assert ended.returncode == 0, ended.stderr
    return re.findall(r"^ +([\d.]+) min +([\d.]+)% +([\d.]+)% +([\d.,]+)  .*steps=(\d+)", ended.stdout, re.M)
