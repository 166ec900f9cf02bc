"""A run that is taken over while its older copy lives on: the losses are those of an unbroken run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dataprep.store.files import hash_file
from pipeline.checkpoint import attempts
from pipeline.checkpoint.format import Checkpoint, CheckpointWriter
from pipeline.checkpoint.run_state import RunState
from pipeline.distributed.ranks import Rank
from pipeline.errors import SUPERSEDED_EXIT, RunError
from pipeline.train import resume, run_directory
from support.patience import patient, wait_until
from support.ranks import Ranks

MakeRun = Callable[..., Any]
LONGER = ("train.tokens=6400", "train.keep_last=1")
NEVER = 1e6
FAULTY = "support.workers.faulty"
SAVE = "pipeline.train.loop.save"
STEP = "pipeline.distributed.engine.PipelineEngine.train_batch"


def start(run: Any, faults: Sequence[dict[str, Any]], *overrides: str, machine: str) -> Ranks:
    """Start ranks on what they take for a machine of that name, each with its fault."""
    home = run.home / machine
    home.mkdir()
    told = [{"FAULT": json.dumps(fault), "SLURMD_NODENAME": machine} for fault in faults]
    return Ranks(home, [str(run.written()), *LONGER, *overrides], told, FAULTY)


def send(number: signal.Signals, *processes: Any) -> None:
    for process in processes:
        os.kill(process.pid, number)


def stopping(function: str, call: int) -> dict[str, Any]:
    """The fault of a rank that stops (SIGSTOP) before that call of a function."""
    return {"at": function, "call": call, "deed": "stop"}


def wait_until_stopped(*processes: Any) -> None:
    def stopped() -> bool:
        stats = [Path(f"/proc/{process.pid}/stat").read_text() for process in processes]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    wait_until(stopped, "SIGSTOP")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hash_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow(15)
def test_an_old_copy_that_wakes_just_before_its_successors_first_save_changes_nothing(
    tiny_run: MakeRun,
) -> None:
    """It even trains to its end, saves and prunes, since it does not look."""
    unbroken = tiny_run("unbroken", dropout=0.1)
    unbroken.train(*LONGER)
    run = tiny_run("taken-over", dropout=0.1)
    old = start(run, [stopping(SAVE, 3) | {"look_s": NEVER}] * 2, machine="old")
    wait_until_stopped(*old.processes)
    new = start(run, [stopping(SAVE, 1), {}], machine="new")
    wait_until_stopped(new.processes[0])
    assert run.attempt.name == "0002"
    (resumed,) = {path.name for path in (run.attempt / "checkpoints").iterdir()}
    as_it_stands, losses = contents(run.attempt), run.losses()

    send(signal.SIGCONT, *old.processes)
    assert old.wait() == [0, 0], old.told()
    assert not (run.dir / "attempts" / "0001" / "checkpoints" / resumed).exists(), "it has let go of it"
    assert contents(run.attempt) == as_it_stands
    assert run.losses() == losses, "what it has added does not count"

    send(signal.SIGCONT, new.processes[0])
    assert new.wait() == [0, 0], new.told()
    assert run.timeless() == unbroken.timeless()
    assert run.summary()["resumes"] == [int(resumed.removeprefix("step-"))]


@pytest.mark.slow(15)
def test_an_old_copy_whose_network_is_cut_leaves_once_it_sees_its_successor(tiny_run: MakeRun) -> None:
    """Its first rank waits for the other, which it does not reach, in a collective."""
    unbroken = tiny_run("unbroken", dropout=0.1)
    unbroken.train(*LONGER)
    run = tiny_run("cut", dropout=0.1)
    old = start(run, [{"look_s": 0.2}, stopping(STEP, 10)], machine="old")
    wait_until_stopped(old.processes[1])
    new = start(run, [{}, {}], machine="new")
    old.processes[0].join(patient())
    assert old.processes[0].exitcode == SUPERSEDED_EXIT
    assert "attempt 2 on new has taken over from attempt 1" in " ".join(old.told().split())
    send(signal.SIGCONT, old.processes[1])
    assert old.wait() == [SUPERSEDED_EXIT, 1]
    assert new.wait() == [0, 0], new.told()
    assert run.timeless() == unbroken.timeless()
    ended = [attempts.read(run.dir, number).ended for number in (1, 2)]
    assert [ending and ending.code for ending in ended] == [SUPERSEDED_EXIT, 0]


@pytest.mark.slow(30)
def test_the_command_of_an_attempt_that_was_taken_over_ends_with_a_code_of_its_own(tiny_run: MakeRun) -> None:
    run = tiny_run()
    process = run.start("train.tokens=1_600_000")
    run.wait_for_step(5, process)
    new = start(run, [{}, {}], "train.tokens=1_600_000", machine="new")
    _, err = process.communicate(timeout=patient())
    assert process.returncode == SUPERSEDED_EXIT, err
    assert "error: another attempt has taken over this run" in err
    assert "Traceback" not in err
    send(signal.SIGTERM, *new.processes)
    assert new.wait() == [0, 0], new.told()
    ended = attempts.read(run.dir, 2).ended
    assert ended is not None
    assert (ended.code, ended.step) == (75, run.summary()["steps"])


@pytest.mark.slow(10)
def test_a_start_that_is_refused_takes_nothing_over(tiny_run: MakeRun) -> None:
    run = tiny_run()
    run.train()
    refused = start(run, [{}, {}], "run.seed=4", machine="new")
    assert refused.wait() == [2, 2], refused.told()
    assert attempts.latest(run.dir) == 1
    ended = attempts.read(run.dir, 2).ended
    assert ended is not None
    assert (ended.code, ended.reason[:8]) == (2, "run.seed")


def test_it_looks_again_when_the_filesystem_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_directory, "LOOK_S", 0.01)
    first = attempts.claim(tmp_path, processes=1)
    first.begin(attempts.Origin(attempt=0, step=0))
    second = attempts.claim(tmp_path, processes=1)
    found = iter([OSError("stale file handle")])
    look = attempts.Attempt.successor

    def flaky(attempt: attempts.Attempt) -> str | None:
        if error := next(found, None):
            second.begin(attempts.Origin(attempt=1, step=4))
            raise error
        return look(attempt)

    monkeypatch.setattr(attempts.Attempt, "successor", flaky)
    left: list[int] = []
    run_directory.leave_when_superseded(first, Event(), left.append)
    assert left == [SUPERSEDED_EXIT]
    assert attempts.read(tmp_path, 1).ended is not None


def test_a_lock_of_this_machine_stops_a_second_start_and_one_of_another_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURMD_NODENAME", "here")
    with run_directory.claim(tmp_path, processes=1) as first:
        with pytest.raises(RunError, match="another process trains here"), run_directory.claim(tmp_path, 1):
            pass
        monkeypatch.setenv("SLURMD_NODENAME", "elsewhere")
        with run_directory.claim(tmp_path, processes=1) as second:
            assert (first.number, second.number) == (1, 2)


def test_where_the_filesystem_has_no_locks_a_run_starts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_directory.claim(tmp_path, processes=1) as attempt:
        assert attempt.number == 1


def test_what_an_old_copy_lets_go_of_while_it_is_looked_at_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(step: int) -> None:
        writer = CheckpointWriter(old.folder, step)
        writer.prepare()
        writer.publish(RunState(step=step), [], keep=1)

    steps = iter([8])
    verify = Checkpoint.first_damage

    def late(checkpoint: Checkpoint, names: Any) -> str | None:
        if step := next(steps, None):
            save(step)
        return verify(checkpoint, names)

    monkeypatch.setattr(Checkpoint, "first_damage", late)
    monkeypatch.setattr(resume, "gather_json", lambda value, device: [value])
    old = attempts.claim(tmp_path, processes=1)
    old.begin(attempts.Origin(attempt=0, step=0))
    save(4)
    new = attempts.claim(tmp_path, processes=1)
    found = resume._find_and_link(new, Rank(global_rank=0, world_size=1, local_rank=0), "cpu")
    assert found is not None
    checkpoint, origin = found
    assert origin == attempts.Origin(attempt=1, step=8)
    assert checkpoint.path == new.folder / "checkpoints" / "step-00000008"


def test_the_room_of_earlier_checkpoints_leaves_out_what_is_linked(tmp_path: Path) -> None:
    old = attempts.claim(tmp_path, processes=1)
    for step in (4, 8):
        writer = CheckpointWriter(old.folder, step)
        writer.prepare()
        writer.publish(RunState(step=step), [], keep=2)
    new = attempts.claim(tmp_path, processes=1)
    Checkpoint.open(old.folder / "checkpoints" / "step-00000008").link_into(new.folder)
    first = old.folder / "checkpoints" / "step-00000004" / "checkpoint.json"
    assert run_directory.bytes_of_earlier_checkpoints(new) == first.stat().st_size


def test_a_run_of_an_earlier_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(RunError, match="an earlier version of outbound trained here"):
        run_directory.claim(tmp_path, processes=1).__enter__()
