"""Workers that share the parts of a step: whatever happens to them, each part is made and recorded once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from dataprep.errors import DataError
from dataprep.store import requests
from dataprep.store.claiming import Claiming, _OpenStep
from dataprep.store.claims import INTERRUPTED, LOST, Claims, Failure, Tries
from dataprep.store.files import write_once
from dataprep.store.presence import Presence
from dataprep.store.step import LocalPool, make_part, plan_path, plan_step, run_step
from dataprep.store.workers import Pulses, Worker, all_workers, new_worker, workers_folder
from support import cli
from support.kills import kill
from support.patience import patient, wait_until
from support.ready_corpus import no_progress
from support.toy_steps import BEHAVING, SQUARE, Toy


class Workers:
    """Processes at the toy step of one directory; `behave` says what parts do besides being made."""

    def __init__(self, root: Path, parts: int, **behave: str) -> None:
        self.scope = Toy(root=root / "shared", parts=parts)
        (self.scope.root / "behave").mkdir(parents=True)
        for name, lines in behave.items():
            (self.scope.root / "behave" / name.removeprefix("p")).write_text(lines)
        self.running: list[subprocess.Popen[str]] = []
        self.undisturbed = Toy(root=root / "local", parts=parts)
        run_step(SQUARE, self.undisturbed, LocalPool(1), no_progress)

    def start(
        self, count: int = 1, version: str = "1", grace: str = "inf", repeat: str = "0.5"
    ) -> list[subprocess.Popen[str]]:
        words, python = (self.scope.parts, version, grace, repeat), ("-m", "support.workers.toy_worker")
        started = [cli.start(self.scope.root, *words, python=python) for _ in range(count)]
        self.running += started
        return started

    def end(self) -> list[tuple[int, str]]:
        """How they end: exit code, and what they say."""
        said = [worker.communicate(timeout=patient()) for worker in self.running]
        ended = [
            (worker.returncode, out + err) for worker, (out, err) in zip(self.running, said, strict=True)
        ]
        self.running = []
        return ended

    def told(self) -> list[Worker]:
        return all_workers(self.scope.root)

    def wait_for(self, *parts: str) -> None:
        """Wait until a process has begun to make these parts."""
        begun = self.scope.root / "begun"
        wait_until(lambda: begun.exists() and {*parts} <= {*begun.read_text().split()}, " ".join(parts))

    def let_go(self) -> None:
        """Let all parts behave."""
        for path in (self.scope.root / "behave").iterdir():
            path.unlink()

    def assert_equal(self) -> None:
        """What they made is what one process makes."""
        assert files(self.scope) == files(self.undisturbed)
        assert not plan_path(BEHAVING, self.scope).exists()
        assert not list(self.scope.root.rglob("*.claims"))


def files(scope: Toy) -> dict[str, bytes]:
    """All but what a process was writing when it was killed."""
    things = scope.root / "things"
    paths = [path for path in things.rglob("[!.]*") if path.is_file()]
    return {str(path.relative_to(things)): path.read_bytes() for path in paths}


def claims_of(workers: Workers) -> list[str]:
    return sorted(path.name for path in workers.scope.root.rglob("square.claims/*.json"))


@pytest.mark.slow(4)
def test_many_workers_make_what_one_makes_and_each_part_once(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 40)
    workers.start(3, repeat="inf")
    ended = workers.end()
    assert [code for code, _ in ended] == [0, 0, 0]
    workers.assert_equal()
    assert 0 < sum(int(said) for _, said in ended) <= 40
    assert sorted(workers.scope.made()) == [f"square/{n:02d}" for n in range(40)]
    assert all(worker.ended == "whole" and not worker.open for worker in workers.told())


@pytest.mark.slow(2)
def test_a_worker_does_not_pause_when_the_last_part_is_made(tmp_path: Path) -> None:
    scope, look_s = Toy(root=tmp_path, parts=3), patient(60)
    begun = time.monotonic()
    with closing(Claiming(Presence(tmp_path, new_worker("cpu", 1)), look_s=look_s)) as claiming:
        run_step(SQUARE, scope, claiming, no_progress)
    assert time.monotonic() - begun < look_s
    assert len(scope.made()) == 3


def test_a_part_whose_worker_ended_after_its_commit_is_not_lost(tmp_path: Path) -> None:
    scope = Toy(root=tmp_path, parts=2)
    plan_step(SQUARE, scope)
    gone, here = (Presence(tmp_path, new_worker("cpu", 1)) for _ in range(2))
    gone.worker.ended = "whole"
    gone.show([])
    opened = _OpenStep.read(SQUARE, scope, gone.worker)
    assert opened
    assert all(opened.claims.take(part, 1) for part in ("00", "01"))
    make_part(SQUARE, scope, "00", 1, lambda _: None)
    claims = Claims(opened.path.parent, SQUARE.name, here.worker)
    pulses = Pulses(tmp_path)
    held = [claims.held(part, {1}, pulses, opened.record(part)) for part in ("00", "01")]
    assert held == [[1], []]
    assert [path.name for path in opened.claims.failures.iterdir()] == ["01.0001.json"]


def failed(*kinds: str, host: str = "node1") -> Tries:
    """Tries that ended so, the first with number 1."""
    failures = {
        number: Failure(worker="w", host=host, at=0, kind=kind, reason="r")
        for number, kind in enumerate(kinds, 1)
    }
    return Tries(claims={*failures}, failures=failures)


@pytest.mark.parametrize(
    ("kinds", "given_up"),
    [
        (["error", "hung"], False),
        (["error", "hung", "killed"], True),
        (["error", LOST, "error", LOST], False),
        (["error", LOST, "error", LOST, "error"], True),
        ([LOST] * 5, False),
        ([LOST] * 6, True),
        ([INTERRUPTED] * 9, False),
        ([*[INTERRUPTED] * 9, "error", "error"], False),
    ],
    ids=str,
)
def test_a_part_is_given_up_after_3_faults_of_its_own_or_6_in_all(kinds: list[str], given_up: bool) -> None:
    assert failed(*kinds).is_given_up == given_up


def test_the_next_try_comes_after_the_last_and_is_not_of_those_that_failed() -> None:
    tries = failed("error", "error")
    tries.claims = {2, 7}
    assert (tries.open, tries.next) == ({7}, 8)
    assert (Tries().open, Tries().next, Tries().is_given_up) == (set(), 1, False)
    assert [tries.have_failed_on(host) for host in ("node1", "node2")] == [True, False]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Claims, Claims]:
    """Two workers at one step."""
    pair = [Claims(tmp_path, "square", new_worker("cpu", 1)) for _ in range(2)]
    pair[0].begin()
    return pair[0], pair[1]


def test_a_try_is_of_one_worker_who_gives_back_its_own_alone(two: tuple[Claims, Claims]) -> None:
    first, second = two
    assert first.take("00", 1)
    assert not second.take("00", 1)
    assert first.take("00", 1), "asked again, as after a reply that was lost"
    assert second.take("01", 1)
    second.release_all()
    assert {part: tries.claims for part, tries in first.tries().items()} == {"00": {1}}


def test_a_reply_that_was_lost_may_have_been_that_of_a_claim(
    two: tuple[Claims, Claims], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(path: Path, content: bytes) -> bool:
        """Write as a network filesystem does that repeats a link whose reply was lost."""
        write_once(path, content)
        return write_once(path, content)

    monkeypatch.setattr("dataprep.store.claims.write_once", lose)
    first, second = two
    assert first.take("00", 1)
    assert not second.take("00", 1)


def test_a_try_that_was_given_back_and_taken_by_another_is_not_lost(two: tuple[Claims, Claims]) -> None:
    first, second = two
    assert first.take("00", 1)
    assert second.holder("00", 1) == first.worker.name
    first.release("00", 1)
    assert second.take("00", 1)
    assert not Claims(first.folder, "square", first.worker).failures.exists()
    watching = Claims(first.folder, "square", new_worker("cpu", 1))
    watching._holders["00", 1] = first.worker.name  # as it read before
    assert not watching.lose("00", 1, first.worker.name)
    assert first.tries()["00"].failures == {}
    assert watching.lose("00", 1, second.worker.name)
    assert first.tries()["00"].failures[1].kind == LOST


def test_a_part_that_was_interrupted_is_named_by_none_of_its_failures(two: tuple[Claims, Claims]) -> None:
    first, _ = two
    for number, kind in enumerate([INTERRUPTED, "error", INTERRUPTED], 1):
        assert first.take("00", number)
        first.fail("00", number, kind, kind)
    assert [each.kind for each in first.tries()["00"].counted] == ["error"]
    assert "00 after 1 tries" in str(first.given_up(["00"]))


@pytest.mark.slow(2)
def test_a_worker_lists_the_claims_once_for_many_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, tries = list[str](), Claims.tries

    def counted(claims: Claims) -> defaultdict[str, Tries]:
        looks.append(claims.step)
        return tries(claims)

    monkeypatch.setattr(Claims, "tries", counted)
    scope, worker = Toy(root=tmp_path, parts=20), new_worker("cpu", 1)
    with closing(Claiming(Presence(tmp_path, worker), look_s=patient(60))) as claiming:
        run_step(SQUARE, scope, claiming, no_progress)
    assert (worker.made, looks) == (20, ["square"])


def test_an_idle_worker_looks_at_all_claims_ever_less_often(tmp_path: Path) -> None:
    pauses, claiming = [0.0], Claiming(Presence(tmp_path, new_worker("cpu", 1)))
    for _ in range(9):
        pauses.append(claiming._pause(pauses[-1]))
    assert pauses[1:] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])


@pytest.mark.slow(3)
def test_the_part_of_a_worker_that_was_killed_is_made_by_another(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 4, p02="wait")
    (first,) = workers.start()
    workers.wait_for("02")
    kill(first)
    workers.running = []
    workers.let_go()
    workers.start()
    assert workers.end()[0][0] == 0
    workers.assert_equal()


@pytest.mark.slow(3)
def test_what_a_slow_worker_holds_is_made_again_by_an_idle_one(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, p01="wait")
    workers.start()
    workers.wait_for("01")
    workers.start()
    wait_until(lambda: (workers.scope.root / "begun").read_text().count("01") == 2, "the part made again")
    workers.let_go()
    assert [code for code, _ in workers.end()] == [0, 0]
    workers.assert_equal()


@pytest.mark.slow(3)
def test_a_worker_that_sleeps_while_others_finish_finds_the_step_whole(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, p01="wait")
    (sleeper,) = workers.start()
    workers.wait_for("01")
    sleeper.send_signal(signal.SIGSTOP)
    try:
        workers.start()
        workers.let_go()
        workers.running.pop().communicate(timeout=patient())
        workers.assert_equal()
    finally:
        sleeper.send_signal(signal.SIGCONT)
    assert workers.end()[0][0] == 0
    workers.assert_equal()


@pytest.mark.slow(10)
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("raise", "ValueError: a part that cannot be made"),
        ("die", "its process was killed by SIGKILL"),
        ("stop", "no progress"),
    ],
)
def test_a_part_that_always_fails_is_given_up_by_name_and_all_others_are_made(
    tmp_path: Path, behaviour: str, reason: str
) -> None:
    workers = Workers(tmp_path, 5, p03=behaviour)
    workers.start(2)
    for code, said in workers.end():
        assert code == 1
        assert re.search(
            rf"square\.failed: 1 of the parts of square .*03 after [3-5] tries on .*{reason}", said
        )
    assert {*workers.scope.made()} == {f"square/{n:02d}" for n in (0, 1, 2, 4)}
    assert not list(workers.scope.root.rglob("*.part"))
    workers.let_go()
    for failure in workers.scope.root.rglob("square.failed/*"):
        failure.unlink()
    workers.start()
    assert workers.end()[0][0] == 0
    workers.assert_equal()


@pytest.mark.slow(3)
def test_a_full_disk_is_no_fault_of_the_part(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 2, p01="full")
    workers.start()
    ((code, said),) = workers.end()
    assert code == 1
    assert "No space left on device" in said
    assert not list(workers.scope.root.rglob("square.failed/*"))
    workers.let_go()
    workers.start()
    assert workers.end()[0][0] == 0
    workers.assert_equal()


@pytest.mark.slow(2)
def test_a_worker_that_is_asked_to_finish_finishes_what_it_makes(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 9, **{f"p{n:02d}": "wait" for n in range(9)})
    (worker,) = workers.start()
    wait_until(lambda: any(len(told.open) == 2 for told in workers.told()), "both its processes busy")
    worker.send_signal(signal.SIGUSR1)
    workers.let_go()
    assert [code for code, _ in workers.end()] == [75]
    (told,) = workers.told()
    assert (told.ended, told.open, told.made) == ("stopped", [], 2)
    assert len(workers.scope.made()) == 2
    assert len(claims_of(workers)) == 2
    assert not list(workers.scope.root.rglob("square.failed/*"))


@pytest.mark.slow(2)
def test_a_worker_gives_back_what_it_cannot_finish_in_its_grace(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 9, **{f"p{n:02d}": "wait" for n in range(9)})
    (worker,) = workers.start(grace="0.1")
    wait_until(lambda: any(len(told.open) == 2 for told in workers.told()), "both its processes busy")
    worker.send_signal(signal.SIGUSR1)
    assert [code for code, _ in workers.end()] == [75]
    assert (claims_of(workers), workers.scope.made()) == ([], [])


@pytest.mark.slow(2)
def test_a_worker_that_is_asked_to_leave_gives_back_what_it_makes(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 9, **{f"p{n:02d}": "wait" for n in range(9)})
    (worker,) = workers.start()
    wait_until(lambda: any(len(told.open) == 2 for told in workers.told()), "both its processes busy")
    worker.send_signal(signal.SIGTERM)
    assert [code for code, _ in workers.end()] == [75]
    (told,) = workers.told()
    assert (told.ended, told.open, told.made) == ("stopped", [], 0)
    assert claims_of(workers) == []
    assert not list(workers.scope.root.rglob("square.failed/*"))
    assert not list(workers.scope.root.rglob("*.part"))


@pytest.mark.slow(3)
def test_a_worker_of_another_version_refuses_and_says_which(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 3, p02="wait")
    workers.start()
    workers.wait_for("02")
    (other,) = workers.start(version="2")
    _, said = other.communicate(timeout=patient())
    assert other.returncode == 1
    assert "planned with other versions or inputs (toy 1, here 2)" in said
    workers.running.remove(other)
    workers.let_go()
    assert workers.end()[0][0] == 0
    workers.assert_equal()


@pytest.mark.slow(4)
def test_a_command_that_removes_has_it_alone_and_the_workers_go_on_after_it(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 4, p00="wait", p01="wait", p02="wait", p03="wait")
    workers.start(2)
    workers.wait_for("00", "01", "02", "03")
    with requests.alone(workers.scope.root, silent_s=patient(20)):
        workers.let_go()
        time.sleep(1)
        assert files(workers.scope) == {}
        assert all(worker.heeds == 1 and not worker.open for worker in workers.told())
    assert [code for code, _ in workers.end()] == [0, 0]
    workers.assert_equal()
    assert not list(workers.scope.root.rglob("square.failed/*"))


@pytest.mark.slow(4)
def test_a_worker_that_slept_through_a_removal_commits_nothing_of_before(tmp_path: Path) -> None:
    workers = Workers(tmp_path, 1, p00="wait")
    (sleeper,) = workers.start()
    workers.wait_for("00")
    processes = [sleeper.pid, *children_of(sleeper.pid)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    with requests.alone(workers.scope.root, silent_s=1.0):  # it is dead, as far as anybody can tell
        assert files(workers.scope) == {}
    workers.let_go()
    for pid in processes[1:]:
        os.kill(pid, signal.SIGCONT)
    wait_until(workers.scope.made, "the part made to its end")
    time.sleep(patient(0.5))
    assert not SQUARE.directory(workers.scope).joinpath("00.json").exists()
    os.kill(sleeper.pid, signal.SIGCONT)
    assert workers.end()[0][0] == 0
    workers.assert_equal()
    assert workers.scope.made() == ["square/00"] * 2


def children_of(pid: int) -> list[int]:
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for each in children for child in each]


@pytest.mark.slow(1)
def test_of_two_commands_that_remove_one_is_refused_also_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lies(*_: object) -> None:
        """As Lustre's `localflock` on another node."""

    monkeypatch.setattr("fcntl.flock", lies)
    child = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "jobs" / "exclusive" / "0001.json").exists, "the other command")
    refused = pytest.raises(DataError, match=f"that removes is at work here .process {child.pid} on")
    with refused, requests.alone(tmp_path):
        raise AssertionError("both are at work")
    kill(child)
    with requests.alone(tmp_path):
        pass
    assert not (tmp_path / "jobs").exists()


ALONE = """
import sys
from pathlib import Path
from dataprep.errors import DataError
from dataprep.store import requests
with requests.alone(Path(sys.argv[1])):
    sys.stdin.read()
"""


def test_nothing_is_left_of_a_removal_where_no_worker_has_been(tmp_path: Path) -> None:
    with requests.alone(tmp_path):
        assert not workers_folder(tmp_path).exists()
    assert not (tmp_path / "jobs").exists()
