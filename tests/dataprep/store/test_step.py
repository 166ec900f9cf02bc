"""A step: planned once, made part by part by anybody in any order, and summed up in one file."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataprep.errors import DataError
from dataprep.store.npy import loaded
from dataprep.store.pool import Tick, run_all
from dataprep.store.records import load_record, load_step, step_path
from dataprep.store.step import (
    LocalPool,
    Step,
    finish_step,
    inputs_of,
    make_part,
    plan_step,
    read_step,
    run_step,
    run_steps,
)
from support.ready_corpus import no_progress
from support.toy_steps import REMADE, SQUARE, SUM, TEMPORARY, Noted, Toy

POOL = LocalPool(1)


def silent(_: int) -> None:
    """Nobody is told."""


def files(root: Path) -> dict[str, bytes]:
    """All but the log of the calls."""
    found = [path for path in root.rglob("*") if path.is_file() and path.name != "log"]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


class Killed:
    """An executor that makes so many parts and is killed."""

    joins = False

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, step: Step[Any], scope: Any, parts: Sequence[str], tick: Tick) -> None:
        for name in parts[: self.after]:
            make_part(step, scope, name, 1, tick)
        raise KeyboardInterrupt


def test_a_step_is_its_parts_and_a_file_that_sums_them_up(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    whole = run_step(SQUARE, scope, POOL, no_progress)
    assert (whole.step, whole.inputs, whole.versions) == ("square", {"source": "a"}, {"toy": "1"})
    assert [part.part for part in whole.parts] == ["00", "01", "02", "03"]
    assert [(part.entered, part.passed, part.reasons) for part in whole.parts[:3]] == [
        (10, 10, {}), (11, 10, {"odd": 1}), (12, 10, {"odd": 2}),
    ]  # fmt: skip
    assert [loaded(tmp_path / each.path).tolist() for each in whole.outputs("square")] == [[0], [1], [4], [9]]
    for part in whole.parts:
        record = load_record(SQUARE.directory(scope) / f"{part.part}.json")
        assert record.noted(Noted).number == int(part.part), "notes stay in the records"
        assert (part.notes, part.inputs, part.versions) == ({}, record.inputs, record.versions)
    assert not (tmp_path / "jobs").exists()


def test_the_plan_is_written_once_and_goes_when_all_is_done(tmp_path: Path) -> None:
    def no_other(*_: object) -> list[Any]:
        raise AssertionError("it is planned again")

    scope = Toy(root=tmp_path)
    plan = plan_step(SQUARE, scope)
    standing = files(tmp_path)
    assert sorted(name.partition("-")[0] for name in standing) == [
        "jobs/things/square.plan.json",
        "jobs/things/square.squares",
    ]
    later = replace(SQUARE, plan=no_other)
    assert plan_step(later, scope) == plan
    assert files(tmp_path) == standing
    whole = run_step(later, scope, POOL, no_progress)
    assert not (tmp_path / "jobs").exists()
    assert run_step(later, scope, POOL, no_progress) == whole, "and is not needed again"
    assert len(scope.made()) == 4


def test_a_run_that_was_killed_makes_only_what_is_left(tmp_path: Path) -> None:
    scope, told, totals = Toy(root=tmp_path), list[int](), list[int | None]()

    @contextmanager
    def progress(title: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
        totals.append(total)
        yield told.append

    for after in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            run_step(SQUARE, scope, Killed(after), no_progress)
        assert not SQUARE.is_whole(scope)
        with pytest.raises(DataError, match=r"square\.step\.json: is in none of .*; run the command again"):
            read_step(scope, "square")
    run_step(SQUARE, scope, POOL, progress)
    assert scope.made() == ["square/00", "square/01", "square/02", "square/03"]
    assert totals == [10 + 11 + 12 + 13]
    assert told == [10 + 11 + 12, 13], "what stands is told at once"
    undisturbed = Toy(root=tmp_path / "undisturbed")
    run_step(SQUARE, undisturbed, POOL, no_progress)
    assert files(tmp_path / "undisturbed").items() <= files(tmp_path).items()


def test_a_kill_between_the_plan_and_the_step_file_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    scope = Toy(root=tmp_path)
    plan = plan_step(SQUARE, scope)
    POOL(SQUARE, scope, [part.name for part in plan.parts], silent)
    with monkeypatch.context() as patch:
        patch.setattr("dataprep.store.step.write_once", dies)
        with pytest.raises(KeyboardInterrupt):
            finish_step(SQUARE, scope, plan)
    assert not (tmp_path / "jobs").exists()
    whole = run_step(SQUARE, scope, POOL, no_progress)
    assert len(whole.parts) == len(scope.made()) == 4
    assert not (tmp_path / "jobs").exists()


def test_a_folder_of_plans_that_another_command_removes_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, jobs, look = Toy(root=tmp_path), tmp_path / "jobs" / "things", os.scandir

    def late(folder: Any) -> Any:
        if str(folder) == str(jobs):
            shutil.rmtree(jobs)
        return look(folder)

    monkeypatch.setattr(os, "scandir", late)
    run_step(SQUARE, toy, LocalPool(1), no_progress)
    assert SQUARE.is_whole(toy)
    assert not jobs.exists()


def test_a_part_of_a_step_that_another_command_has_finished_is_as_that_made_it(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    plan = plan_step(SQUARE, scope)
    run_step(SQUARE, scope, POOL, no_progress)
    assert not (tmp_path / "jobs").exists()
    standing = load_record(SQUARE.directory(scope) / "02.json")
    assert make_part(SQUARE, scope, "02", 1, silent) == standing
    before = files(tmp_path)
    finish_step(SQUARE, scope, plan)
    assert files(tmp_path) == before
    assert len(scope.made()) == 4


def test_other_inputs_are_refused_whether_it_is_whole_or_not(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_step(SQUARE, scope, Killed(after=1), no_progress)
    other = replace(scope, source="b")
    with pytest.raises(DataError, match=r"square/00\.json: was made from other inputs \(source\)"):
        run_step(SQUARE, other, POOL, no_progress)
    whole = run_step(SQUARE, scope, POOL, no_progress)
    with pytest.raises(DataError, match=r"square\.step\.json: was made from other inputs \(source\)"):
        run_step(SQUARE, other, POOL, no_progress)
    assert run_step(SQUARE, scope, POOL, no_progress) == whole
    assert len(scope.made()) == 4


def test_what_another_version_made_stays_where_nothing_is_made_again(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_step(SQUARE, scope, Killed(after=1), no_progress)
    whole = run_step(SQUARE, replace(scope, version="2"), POOL, no_progress)
    assert [part.versions["toy"] for part in whole.parts] == ["1", "2", "2", "2"]
    assert run_step(SQUARE, replace(scope, version="3"), POOL, no_progress) == whole
    assert len(scope.made()) == 4


def test_what_may_be_made_again_is_of_the_new_version_and_the_rest_stays(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    first = run_step(REMADE, scope, POOL, no_progress)
    newer = replace(scope, version="2")
    second = run_step(REMADE, newer, POOL, no_progress)
    assert scope.made()[4:] == ["square/00", "square/02"]
    assert [part.versions["toy"] for part in second.parts] == ["2", "1", "2", "1"]
    assert second.origin != first.origin, "what was made from it has to be made again"
    records = [load_record(REMADE.directory(newer) / f"{part.part}.json") for part in second.parts]
    assert [record.noted(Noted).before for record in records] == [[0], [], [2], []]
    assert run_step(REMADE, newer, POOL, no_progress) == second
    assert len(scope.made()) == 6


def test_temporary_steps_are_made_anew_from_other_inputs(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    run_step(TEMPORARY, scope, POOL, no_progress)
    assert run_step(TEMPORARY, scope, POOL, no_progress).inputs == {"source": "a"}
    assert len(scope.made()) == 4
    other = replace(scope, source="b", parts=3)
    whole = run_step(TEMPORARY, other, POOL, no_progress)
    assert (whole.inputs, len(whole.parts)) == ({"source": "b"}, 3)
    assert scope.made()[4:] == ["square/00", "square/01", "square/02"]


def test_temporary_parts_of_another_version_are_made_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_step(TEMPORARY, Toy(root=tmp_path), Killed(2), no_progress)
    whole = run_step(TEMPORARY, Toy(root=tmp_path, version="2"), POOL, no_progress)
    assert {part.versions["toy"] for part in whole.parts} == {"2"}


def test_temporary_steps_are_done_for_the_next_that_lasts_and_go_when_it_is_whole(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    run_steps([TEMPORARY, SUM], scope, POOL, no_progress)
    (total,) = read_step(scope, "sum").outputs("sum")
    assert loaded(tmp_path / total.path).tolist() == [0 + 1 + 4 + 9]
    assert not scope.places["work"].exists()
    made, before = scope.made(), files(tmp_path)
    assert made == ["square/00", "square/01", "square/02", "square/03", "sum/all"]
    run_steps([TEMPORARY, SUM], scope, POOL, no_progress)
    assert (scope.made(), files(tmp_path)) == (made, before), "whole: nothing of it is done again"
    SUM.file(scope).unlink()
    run_steps([TEMPORARY, SUM], scope, POOL, no_progress)
    assert scope.made() == [*made, *made[:4]], "the sum itself stands in its record"
    assert files(tmp_path) == before


def test_a_step_is_named_among_inputs_by_its_origin(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    whole = run_step(SQUARE, scope, POOL, no_progress)
    reading = replace(SUM, reads=("square",))
    assert inputs_of(reading, scope) == {"square": whole.origin, "source": "a"}
    assert run_step(reading, scope, POOL, no_progress).inputs == inputs_of(reading, scope)


@pytest.mark.parametrize("seed", range(5))
def test_the_step_file_is_the_same_in_whichever_order_parts_are_made(tmp_path: Path, seed: int) -> None:
    ordered, shuffled = (Toy(root=tmp_path / name, parts=7) for name in ("ordered", "shuffled"))
    run_step(SQUARE, ordered, POOL, no_progress)
    names = [part.name for part in plan_step(SQUARE, shuffled).parts]
    order = random.Random(seed).sample(names, k=7)
    for name in [*order, *order[:3]]:  # some of them twice
        make_part(SQUARE, shuffled, name, 1, silent)
    finish_step(SQUARE, shuffled, plan_step(SQUARE, shuffled))
    assert shuffled.made() == [f"square/{name}" for name in order]
    assert files(shuffled.root) == files(ordered.root)


def test_any_number_of_workers_makes_the_same_files(tmp_path: Path) -> None:
    for workers in (1, 2):
        run_step(SQUARE, Toy(root=tmp_path / str(workers)), LocalPool(workers), no_progress)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_damaged_plan_or_step_file_is_named(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path)
    plan_step(SQUARE, scope)
    (plan,) = tmp_path.glob("jobs/**/*.plan.json")
    content = plan.read_bytes()
    plan.write_bytes(content.replace(b'"size": 10', b'"size": 11'))
    with pytest.raises(DataError, match=r"square\.plan\.json: is damaged .*, delete it and run"):
        run_step(SQUARE, scope, POOL, no_progress)
    plan.write_bytes(content)
    run_step(SQUARE, scope, POOL, no_progress)
    path = SQUARE.file(scope)
    path.rename(step_path(path.parent, "other"))
    with pytest.raises(DataError, match=r"other\.step\.json: is the file of the step 'square'"):
        load_step(step_path(path.parent, "other"))


@pytest.mark.parametrize(
    ("parts", "divisible", "workers", "processes"),
    [(11, True, 1, 3), (12, True, 3, 1), (1, False, 3, 1)],
)
def test_divisible_parts_are_made_one_by_one_by_all_workers_where_they_are_few(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: int,
    divisible: bool,
    workers: int,
    processes: int,
) -> None:
    """Few: below four for each of three workers."""
    shared = []

    def here(make: Any, calls: Sequence[Any], workers: int, tick: Tick) -> None:
        shared.append((workers, {call[3] for call in calls}))
        run_all(make, calls, 1, tick)

    monkeypatch.setattr("dataprep.store.step.run_all", here)
    whole = run_step(
        replace(SQUARE, divisible=divisible), Toy(root=tmp_path, parts=parts), LocalPool(3), no_progress
    )
    assert len(whole.parts) == parts
    assert shared == [(workers, {processes})]
