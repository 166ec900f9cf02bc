"""The processes of a worker: what they report, and how they end."""

from __future__ import annotations

import multiprocessing.process
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprep.store.crew import Crew, Job, Outcome
from dataprep.store.step import Step, plan_step
from support import dies_on_import, toy_steps
from support.patience import wait_until
from support.toy_steps import BEHAVING, Toy

LOOK_S = 0.1


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew(1)
    yield crew
    crew.close()


def job(root: Path, step: Step[Any] = BEHAVING, **behave: str) -> Job:
    """The first part of a planned step; `behave` is how parts behave, by name."""
    scope = Toy(root=root, parts=1)
    (root / "behave").mkdir()
    for part, behaviour in behave.items():
        (root / "behave" / part.removeprefix("p")).write_text(behaviour)
    plan_step(step, scope)
    return Job(step=step, scope=scope, part="00", number=1, heeded=0)


@pytest.mark.slow(2)
def test_a_part_that_reports_progress_is_not_waited_for(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(*_: object) -> None:
        raise AssertionError("it waits for the end of a process that lives")

    crew.give(job(tmp_path, p00="wait"))
    with monkeypatch.context() as patch:
        patch.setattr(multiprocessing.process.BaseProcess, "join", waits)
        for _ in range(3):
            wait_until(lambda: 0 in [*crew.wait(LOOK_S)], "a sign of life")
    assert len(crew.jobs) == 1


@pytest.mark.slow(2)
def test_a_process_that_ends_while_it_starts_is_no_fault_of_the_part(crew: Crew, tmp_path: Path) -> None:
    crew.give(job(tmp_path, replace(BEHAVING, run=dies_on_import.run)))
    heard = list[Outcome | int]()
    wait_until(lambda: heard.extend(crew.wait(LOOK_S)) or heard, "the end of the process")
    (outcome,) = heard
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.reason) == ("machine", "a process left with exit code 7 while it started")
    assert (crew.jobs, crew.free) == ([], 1)


@pytest.mark.slow(2)
def test_all_units_are_reported_in_few_messages(crew: Crew, tmp_path: Path) -> None:
    crew.give(job(tmp_path, replace(BEHAVING, run=toy_steps.tick_often)))
    heard = list[Outcome | int]()
    wait_until(lambda: heard.extend(crew.wait(LOOK_S)) or not crew.jobs, "the end of the part")
    *units, outcome = heard
    assert isinstance(outcome, Outcome)
    assert outcome.kind == "made"
    assert sum(each for each in units if isinstance(each, int)) == 1000 + 10
    assert len(units) < 500
