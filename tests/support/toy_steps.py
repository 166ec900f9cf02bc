"""Steps that do next to nothing, for the tests of `dataprep.store.step`; spawned workers import them, too."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataprep.store.npy import loaded
from dataprep.store.step import Made, Part, Save, Step, Task, read_step


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A scope: a directory, and what the steps are made from and by. `parts` begins the number of parts."""

    root: Path
    parts: int = 4
    source: str = "a"
    version: str = "1"

    @property
    def places(self) -> dict[str, Path]:
        return {"lasting": self.root / "things", "work": self.root / "things" / "work"}

    def made(self) -> list[str]:
        """STEP/PART of every call that made a part, in the order of the calls."""
        return (self.root / "log").read_text().split() if (self.root / "log").exists() else []


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Notes of a part: its number, and that of the record that it replaced."""

    number: int = 0
    before: list[int] = field(default_factory=list)


def source_of(scope: Toy) -> dict[str, str]:
    return {"source": scope.source}


def version_of(scope: Toy) -> dict[str, str]:
    return {"toy": scope.version}


def plan(scope: Toy, save: Save) -> list[Part]:
    save("squares", np.arange(scope.parts) ** 2)
    return [Part(name=f"{n:02d}", size=10 + n, spec={"number": n}) for n in range(scope.parts)]


def run(task: Task[Toy]) -> Made:
    """The square of the part's number, which the plan has, as an array; and a line in the log."""
    number = task.part.spec["number"]
    squares = loaded(task.scope.root / task.planned["squares"].path)
    with (task.scope.root / "log").open("a") as log:
        log.write(f"{task.directory.name}/{task.part.name}\n")
    task.tick(task.part.size)
    before = [task.earlier.noted(Noted).number] if task.earlier else []
    return Made(
        outputs={"square": task.publish_array(squares[number : number + 1])},
        entered=task.part.size,
        passed=10,
        reasons={"odd": number} if number else {},
        notes=Noted(number=number, before=before),
    )


def plan_sum(scope: Toy, save: Save) -> list[Part]:
    return [Part(name="all")]


def run_sum(task: Task[Toy]) -> Made:
    """The sum of the squares."""
    outputs = read_step(task.scope, "square").outputs("square")
    squares = [loaded(task.scope.root / each.path) for each in outputs]
    with (task.scope.root / "log").open("a") as log:
        log.write("sum/all\n")
    total = np.sum(np.concatenate(squares), keepdims=True)
    return Made(outputs={"sum": task.publish_array(total)}, entered=len(squares), passed=len(squares))


def even(scope: Toy, part: Part) -> bool:
    return int(part.name) % 2 == 0


SQUARE = Step[Toy](
    name="square", unit="numbers", at="lasting", inputs=source_of, versions=version_of, plan=plan, run=run
)
REMADE = Step[Toy](
    name="square",
    unit="numbers",
    at="lasting",
    inputs=source_of,
    versions=version_of,
    plan=plan,
    run=run,
    remake=even,
)
TEMPORARY = Step[Toy](
    name="square",
    unit="numbers",
    at="work",
    temporary=True,
    inputs=source_of,
    versions=version_of,
    plan=plan,
    run=run,
)
SUM = Step[Toy](name="sum", unit="numbers", at="lasting", inputs=source_of, plan=plan_sum, run=run_sum)


def behave(task: Task[Toy]) -> Made:
    """Do first what `behave/PART` says: `wait` until that is gone, `raise`, `full`, `die` or `stop`."""
    path = task.scope.root / "behave" / task.part.name
    with (task.scope.root / "begun").open("a") as begun:
        begun.write(f"{task.part.name}\n")
    deed = path.read_text() if path.exists() else ""
    if deed not in ("", "wait"):
        task.attempt().write_text("the beginning of a file")
    match deed:
        case "wait":
            while path.exists():
                time.sleep(0.01)
                task.tick(0)
        case "raise":
            raise ValueError("a part that cannot be made")
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
    return run(task)


def tick_often(task: Task[Toy]) -> Made:
    """Tick for each of a thousand units, then for the part's size."""
    for _ in range(1000):
        task.tick(1)
    return run(task)


BEHAVING = Step[Toy](
    name="square", unit="numbers", at="lasting", inputs=source_of, versions=version_of, plan=plan, run=behave
)
