"""Whatever order claims, repeats, stops, commits and removals come in: each part is recorded once, and what
was removed does not come back."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataprep.store import files, requests
from dataprep.store.claims import Claims
from dataprep.store.records import Record, load_record, recommit
from dataprep.store.requests import Excluded, newest, refuse_newer
from dataprep.store.step import (
    LocalPool,
    Made,
    Part,
    Save,
    Step,
    Task,
    make_part,
    plan_path,
    plan_step,
    run_step,
)
from dataprep.store.workers import Worker, new_worker, write_worker
from support.patience import patient
from support.ready_corpus import no_progress

PARTS = 2


@dataclass(frozen=True)
class Texts:
    """A scope: part N is a copy of `source/N`."""

    root: Path

    @property
    def places(self) -> dict[str, Path]:
        return {"facts": self.root / "increments"}

    def source(self, part: str) -> Path:
        return self.root / "source" / part


def plan(scope: Texts, save: Save) -> list[Part]:
    return [Part(name=str(n)) for n in range(PARTS)]


def copy(task: Task[Texts]) -> Made:
    text = task.scope.source(task.part.name).read_text()
    task.tick(1)  # here it can be overtaken
    written = task.attempt()
    written.write_text(text)
    return Made(outputs={"text": task.publish(written, ".txt")}, entered=1, passed=1)


COPY = Step[Texts](name="copy", unit="texts", at="facts", plan=plan, run=copy)


class Actor:
    """A process of a worker that makes one part, and waits at each point where it can be overtaken."""

    at_work: dict[int, Actor] = {}  # noqa: RUF012 (by thread)

    def __init__(self, scope: Texts, part: str, number: int) -> None:
        self.scope, self.part, self.name = scope, part, f"host-{part}-{number}"
        self.heeded = newest(scope.root)
        self.go, self.waits, self.is_killed = threading.Semaphore(0), threading.Semaphore(0), False
        self.thread = threading.Thread(target=self._make, daemon=True)
        self.thread.start()
        self._until_it_waits()

    def step(self) -> None:
        """Let it go on to the next such point, or to its end."""
        if self.thread.is_alive():
            self.go.release()
            self._until_it_waits()

    def kill(self) -> None:
        self.is_killed = True
        self.step()

    def before_commit(self) -> None:
        self._pause()
        refuse_newer(self.scope.root, self.heeded)
        self._pause()

    def _until_it_waits(self) -> None:
        assert self.waits.acquire(timeout=patient(60))

    def _pause(self) -> None:
        self.waits.release()
        assert self.go.acquire(timeout=patient(60))
        if self.is_killed:
            raise SystemExit

    def _make(self) -> None:
        Actor.at_work[threading.get_ident()] = self
        try:
            make_part(COPY, self.scope, self.part, 1, lambda _: self._pause())
        except (Excluded, FileNotFoundError, SystemExit):
            pass
        finally:
            del Actor.at_work[threading.get_ident()]
            self.waits.release()


def current(otherwise: Callable[[], str]) -> Callable[[], str]:
    """Each actor is on a machine of its own."""
    return lambda: actor.name if (actor := Actor.at_work.get(threading.get_ident())) else otherwise()


@contextmanager
def overtaken() -> Iterator[None]:
    def before_commit() -> None:
        if actor := Actor.at_work.get(threading.get_ident()):
            actor.before_commit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "before_commit", before_commit)
        patch.setattr(files.socket, "gethostname", current(files.socket.gethostname))
        yield


def remove(scope: Texts, part: str) -> None:
    """As `forget` does: no worker is heard of any more, so it waits for none."""
    with requests.alone(scope.root, silent_s=0):
        scope.source(part).write_text("")
        path = COPY.directory(scope) / f"{part}.json"
        if path.exists():
            record = load_record(path)
            held = scope.root / record.outputs["text"].path
            emptied = files.attempt_path(path.parent, part)
            emptied.write_text("")
            outputs = {"text": files.publish(scope.root, emptied, part, ".txt")}
            recommit(path, msgspec.structs.replace(record, outputs=outputs))
            if held.read_text():
                held.unlink()


Move = tuple[str, int]
MOVES = st.lists(
    st.tuples(st.sampled_from(["claim", "step", "step", "kill", "remove"]), st.integers(0, 2)), max_size=25
)


@pytest.mark.slow(1)
@settings(max_examples=100)
@given(MOVES)
@example([("claim", 0), *[("step", 0)] * 4, ("remove", 0)])  # between its look and its commit
def test_each_part_is_recorded_once_and_nothing_that_was_removed_comes_back(moves: list[Move]) -> None:
    with tempfile.TemporaryDirectory() as home, overtaken():
        scope = Texts(Path(home))
        (scope.root / "source").mkdir()
        for n in range(PARTS):
            scope.source(str(n)).write_text(f"text {n}")
        plan_step(COPY, scope)
        worker = new_worker("cpu", 1)
        write_worker(scope.root, worker)
        actors, removed, seen = list[Actor](), set[str](), dict[str, str]()
        for move, number in moves:
            part = str(number % PARTS)
            if move == "claim":
                actors += claimed(scope, worker, part)
            elif move == "remove":
                remove(scope, part)
                removed.add(part)
                seen.pop(part, None)
            elif actors:
                actor = actors[number % len(actors)]
                actor.step() if move == "step" else actor.kill()
            assert_stands(scope, removed, seen)
        for actor in actors * 6:
            actor.step()
        assert not any(actor.thread.is_alive() for actor in actors)
        assert_stands(scope, removed, seen)
        whole = run_step(COPY, scope, LocalPool(1), no_progress)
        assert [part.part for part in whole.parts] == [str(n) for n in range(PARTS)]
        assert_stands(scope, removed, seen)


def claimed(scope: Texts, worker: Worker, part: str) -> Iterator[Actor]:
    """A process that has claimed another try of a part, if it is not made."""
    folder = plan_path(COPY, scope).parent
    (folder / "copy.claims").mkdir(exist_ok=True)
    claims = Claims(folder, "copy", worker)
    number = claims.tries()[part].next if part in claims.tries() else 1
    if claims.take(part, number):
        yield Actor(scope, part, number)


def assert_stands(scope: Texts, removed: set[str], seen: dict[str, str]) -> None:
    """Records stay as they were first written, and hold nothing that was removed."""
    for path in COPY.directory(scope).glob("*.json"):
        record: Record = load_record(path)
        text = (scope.root / record.outputs["text"].path).read_text()
        assert text == ("" if record.part in removed else f"text {record.part}")
        assert seen.setdefault(record.part, path.read_text()) == path.read_text()
