"""Attempts take numbers, begin from another's checkpoint, and make up a run."""

from __future__ import annotations

import json
import os
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from dataprep.errors import DataError
from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Attempt, Link, Origin
from pipeline.errors import RunError, Superseded
from pipeline.monitor.report import follow_metrics
from pipeline.monitor.run_files import all_metrics, joined_metrics, joined_samples

CLOCK = count()


def begun(run: Path, attempt: int = 0, step: int = 0) -> Attempt:
    """A next attempt, which goes on from there."""
    made = attempts.claim(run, processes=2)
    made.begin(Origin(attempt=attempt, step=step))
    return made


def note(attempt: Attempt, *steps: int, file: str = "metrics.jsonl") -> None:
    with (attempt.folder / file).open("a") as lines:
        for step in steps:
            row = {"attempt": attempt.number, "time": next(CLOCK), "step": step}
            lines.write(json.dumps(row) + "\n")


def roll_back(attempt: Attempt, since: int, to: int) -> None:
    with (attempt.folder / "metrics.jsonl").open("a") as lines:
        lines.write(json.dumps({"attempt": attempt.number, "rollback": {"from": since, "to": to}}) + "\n")


def taken(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["attempt"], row["step"]) for row in rows]


def test_each_start_takes_the_next_number_and_says_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "8812")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "3")
    monkeypatch.setenv("SLURMD_NODENAME", "node07")
    assert [attempts.claim(tmp_path, processes=2).number for _ in range(3)] == [1, 2, 3]
    record = attempts.read(tmp_path, 3)
    assert (record.job, record.restart, record.host, record.pid) == ("8812", 3, "node07", os.getpid())
    assert (record.origin, record.ended) == (None, None)


def test_a_number_whose_record_is_lost_is_not_taken_again(tmp_path: Path) -> None:
    attempts.claim(tmp_path, processes=1)
    (tmp_path / "attempts" / "0001.json").unlink()
    assert attempts.claim(tmp_path, processes=1).number == 2


def test_a_run_whose_newest_record_is_lost_does_not_fall_back_to_an_older_attempt(tmp_path: Path) -> None:
    begun(tmp_path)
    begun(tmp_path, 1, 4)
    (tmp_path / "attempts" / "0002.json").unlink()
    with pytest.raises(DataError, match=r"0002\.json: cannot be read .*or move attempt 2 and all later"):
        attempts.chain(tmp_path)
    (tmp_path / "attempts" / "0002").rename(tmp_path / "0002")
    assert attempts.chain(tmp_path) == [Link(1, None)]


def test_of_many_starts_at_once_each_has_a_number_of_its_own(tmp_path: Path) -> None:
    children = []
    for _ in range(8):
        if not (child := os.fork()):
            for _ in range(20):
                attempts.claim(tmp_path, processes=1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert attempts.numbers(tmp_path) == list(range(1, 161))


def test_a_run_is_the_chain_of_those_that_have_begun(tmp_path: Path) -> None:
    assert attempts.chain(tmp_path) == []
    begun(tmp_path)
    begun(tmp_path, 1, 8)  # and then both live on
    begun(tmp_path, 1, 4)
    attempts.claim(tmp_path, processes=1).end(2, "refused\nat once")
    assert attempts.chain(tmp_path) == [Link(3, None), Link(1, 4)]
    ended = attempts.read(tmp_path, 4).ended
    assert ended is not None
    assert (ended.code, ended.reason) == (2, "refused at once")


def test_an_attempt_knows_who_has_taken_over_and_does_not_begin_after_it(tmp_path: Path) -> None:
    first, second = begun(tmp_path), attempts.claim(tmp_path, processes=1)
    assert first.successor() is None, "the second may still be refused"
    third = begun(tmp_path, 1, 4)
    assert "attempt 3 on" in str(first.successor())
    with pytest.raises(Superseded, match=r"attempt 3 on .* has taken over from attempt 2"):
        second.begin(Origin(attempt=1, step=4))
    assert third.successor() is None


def test_a_record_that_was_altered_is_named(tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / "attempts" / "0001.json"
    path.write_text(path.read_text().replace('"step": 0', '"step": 4'))
    with pytest.raises(DataError, match=r"0001\.json: is damaged"):
        attempts.chain(tmp_path)


def test_metrics_join_along_the_chain_whatever_old_copies_add(tmp_path: Path) -> None:
    first = begun(tmp_path)
    note(first, 1, 2, 3, 4, 4, 5, 6)
    second = begun(tmp_path, 1, 4)
    note(second, 5, 6)
    stray = begun(tmp_path, 1, 2)  # begins, and is superseded before its first step
    third = begun(tmp_path, 2, 6)
    note(third, 7)
    note(stray, 3, 4, 5)
    note(first, 7, 8, 8)
    roll_back(first, 9, 8)
    note(second, 7)
    with (third.folder / "metrics.jsonl").open("a") as file:
        file.write('{"attempt": 4, "st')  # it is still being written
    joined = taken(joined_metrics(tmp_path))
    assert joined == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 4), (2, 5), (2, 6), (4, 7)]
    everything = all_metrics(tmp_path)
    assert len(everything) == 10 + 3 + 3 + 1
    assert taken([row for row, undone in everything if not undone]) == joined


def test_a_rollback_undoes_what_was_taken_since_also_by_an_attempt_before(tmp_path: Path) -> None:
    first = begun(tmp_path)
    note(first, 1, 2, 3, 4, 5)
    roll_back(first, 6, 4)
    note(first, 5, 6)
    second = begun(tmp_path, 1, 6)
    note(second, 7, 8)
    roll_back(second, 9, 5)
    note(second, 6, 7)
    joined = taken(joined_metrics(tmp_path))
    assert joined == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 6), (2, 7)]
    undone = [row for row, undone in all_metrics(tmp_path) if undone]
    assert taken(undone) == [(1, 5), (1, 6), (2, 7), (2, 8)]


def test_who_follows_a_run_sees_what_was_undone_once_more_as_it_is_taken_again(tmp_path: Path) -> None:
    first = begun(tmp_path)
    note(first, 1, 2, 3, 4, 5)
    followed = follow_metrics(tmp_path, poll_s=0.01)
    assert taken(list(islice(followed, 5)))[-1] == (1, 5)
    roll_back(first, 6, 3)
    note(first, 4, 5, 6)
    assert taken(list(islice(followed, 3))) == [(1, 4), (1, 5), (1, 6)]
    second = begun(tmp_path, 1, 4)
    note(second, 5)
    (second.folder / "summary.json").write_text("{}")
    assert taken(list(followed)) == [(2, 5)]


def test_samples_join_along_the_chain(tmp_path: Path) -> None:
    first = begun(tmp_path)
    note(first, 4, 8, file="samples.jsonl")
    second = begun(tmp_path, 1, 4)
    note(second, 8, file="samples.jsonl")
    note(first, 12, file="samples.jsonl")
    assert taken(joined_samples(tmp_path)) == [(1, 4), (2, 8)]


def test_what_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"attempts: is not there; expected the directory of a training"):
        joined_metrics(tmp_path)


@pytest.mark.parametrize("line", ["{}", "[1]", "3", '{"step": 1'])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    first = begun(tmp_path)
    note(first, 1)
    with (first.folder / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl: .*restore"):
        joined_metrics(tmp_path)


def test_the_seeds_of_a_fine_tuning_stand_in_the_order_in_which_they_last_began(tmp_path: Path) -> None:
    for seed in (2, 0, 1, 2):
        attempts.claim(tmp_path / f"seed-{seed}", processes=1)
    assert [path.name for path in attempts.runs_of(tmp_path)] == ["seed-0", "seed-1", "seed-2"]
    attempts.claim(tmp_path / "seed-0", processes=1)
    assert [path.name for path in attempts.runs_of(tmp_path)] == ["seed-1", "seed-2", "seed-0"]
    assert attempts.runs_of(tmp_path / "seed-0") == [tmp_path / "seed-0"]
