"""Whether a training job goes on after a start, and on which nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurm import ends, starts
from slurm.codes import BAD_NODE_EXIT, RESUME_EXIT, SUPERSEDED_EXIT
from slurm.starts import AGAIN, DONE, Start, nodes_to_leave, what_next
from support.cli import run

FAILED = {"code": 137, "cause": "rank 1 on node1 was killed", "node": "node1"}
STOPPED = {"code": RESUME_EXIT, "cause": "stopped"}
SAVES = {"checkpoint": 4, "saved": 8}


def ended(*changes: dict[str, Any]) -> list[Start]:
    """Starts that have ended, each without a new checkpoint unless it is given."""
    common = {"job": "41", "restart": 0, "nodes": "node[1-2]", "began": 0.0, "ended": 9.0, "checkpoint": 4}
    return [
        Start(**{"number": number, **common, "saved": 4, **each})  # type: ignore[arg-type]
        for number, each in enumerate(changes, 1)
    ]


@pytest.mark.parametrize(
    ("of", "follows"),
    [
        ([{"code": 0}], DONE),
        ([{"code": SUPERSEDED_EXIT}], DONE),
        ([STOPPED | SAVES], AGAIN),
        ([FAILED], AGAIN),
        ([FAILED, STOPPED], AGAIN),
        ([FAILED, FAILED | SAVES, FAILED, FAILED], AGAIN),
        ([{"code": None, "cause": "lost"}, {"code": None, "checkpoint": None, "saved": None}], AGAIN),
        ([STOPPED | SAVES] * 30, AGAIN),
        ([FAILED | {"code": BAD_NODE_EXIT}] * 4, AGAIN),
        ([FAILED | SAVES] * 4, AGAIN),
    ],
)
def test_a_start_follows_until_the_run_is_done(of: list[dict[str, Any]], follows: str) -> None:
    assert what_next(ended(*of), max_restarts=4) == follows


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ([{"code": 2, "cause": "no tokens"}], "another start would end in the same way: no tokens"),
        ([SAVES | FAILED, FAILED, STOPPED, FAILED], "3 starts without a new checkpoint: start 2: rank 1"),
        ([STOPPED, {"code": None, "saved": None}, STOPPED], "3 starts without a new checkpoint: start 1"),
        (
            [FAILED | SAVES] * 5,
            "more than 4 starts have failed: start 1: rank 1 on node1 was killed; start 2",
        ),
    ],
)
def test_a_run_is_given_up_with_the_causes(of: list[dict[str, Any]], why: str) -> None:
    assert what_next(ended(*of), max_restarts=4).startswith(f"given up: {why}")


def test_a_first_checkpoint_is_progress() -> None:
    assert what_next(ended(FAILED, FAILED, FAILED | {"checkpoint": 0, "saved": 4}), 9) == AGAIN


def test_a_node_is_left_once_it_failed_twice_or_was_found_bad_and_from_then_on() -> None:
    once, other = FAILED, FAILED | {"node": "node2"}
    assert nodes_to_leave(ended(once, other), []) == []
    assert nodes_to_leave(ended(once, other, once), []) == ["node1"]
    assert nodes_to_leave(ended(once), ["node7"]) == ["node7"]
    assert nodes_to_leave(ended({"left_out": ["node3"], **STOPPED}, once), []) == ["node3"]


@pytest.mark.parametrize("code", [RESUME_EXIT, BAD_NODE_EXIT, 138, 143])
def test_a_node_stays_whose_processes_were_signalled_or_found_others_bad(code: int) -> None:
    assert nodes_to_leave(ended(FAILED | {"code": code}, FAILED | {"code": code}, FAILED), []) == []


def test_starts_are_numbered_and_kept(tmp_path: Path) -> None:
    assert starts.starts(tmp_path) == []
    first, second = starts.begin(tmp_path, "41", 0, "node1"), starts.begin(tmp_path, "41", 1, "node2")
    assert (first.number, second.number) == (1, 2)
    first.ended, first.cause = 5.0, "stopped"
    starts.note(tmp_path, first)
    assert starts.starts(tmp_path) == [first, second]


def end(folder: Path, rank: int, text: str, reason: str = "") -> None:
    (folder / f"{rank}.end").write_text(text)
    if reason:
        (folder / f"{rank}.json").write_text(reason)


def test_the_process_that_was_killed_is_to_blame_and_not_those_that_lost_it(tmp_path: Path) -> None:
    assert ends.first_failure(tmp_path) is None
    end(tmp_path, 0, "1 node0\n", '{"reason": "rank 0: connection closed by peer"}')
    end(tmp_path, 3, "143 node1\n")
    failure = ends.first_failure(tmp_path)
    assert failure
    assert (failure.code, failure.node) == (1, "node0")
    end(tmp_path, 2, "137 node1\n")
    failure = ends.first_failure(tmp_path)
    assert failure
    assert (failure.code, failure.node) == (137, "node1")
    assert failure.cause == "rank 2 on node1 was killed by SIGKILL: kill -9, or out of memory"


def test_the_first_of_several_failures_counts_and_every_bad_node(tmp_path: Path) -> None:
    end(tmp_path, 5, "77 node5\n", '{"reason": "no GPU", "bad_nodes": {"node5": "no GPU"}}')
    end(tmp_path, 1, "77 node1\n", '{"reason": "slow\\nclock", "bad_nodes": {"node1": "clock"}}')
    end(tmp_path, 2, "")  # cut off
    failure = ends.first_failure(tmp_path)
    assert failure
    assert failure.cause == "rank 5 on node5: no GPU"
    assert sorted(failure.bad_nodes) == ["node1", "node5"]


def test_a_command_that_fails_in_a_training_job_notes_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOUND_ENDS", str(tmp_path))
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert run("train", tmp_path / "none.yaml").returncode == 2
    end(tmp_path, 3, "2 node1\n")
    failure = ends.first_failure(tmp_path)
    assert failure
    assert failure.cause.startswith(f"rank 3 on node1: {tmp_path}/none.yaml: ")
