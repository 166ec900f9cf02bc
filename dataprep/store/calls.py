"""Many calls of one function: by the processes of this machine, or shared with those of other machines.

Shared calls are a step: a part is a batch of calls, and the notes of its record hold what they returned. So
arguments and results are what JSON holds. Each process lists the same calls, does some of them, and gets the
results of all, in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
import xxhash

from dataprep.store.pool import Progress, Tick, batches, run_by_size
from dataprep.store.records import load_record
from dataprep.store.step import Executor, Made, Part, Save, Scope, Step, Task, run_step

R = TypeVar("R")
Calls = Sequence[tuple[Any, ...]]

PLACE = "calls"
"""Where the steps of shared calls stand, in the places of their scope."""


class Run(Protocol):
    """Calls `function(*arguments, tick)` for all arguments; returns the results in their order.

    sizes: of each call, in bytes that could be hashed in the same time.
    """

    def __call__(
        self, name: str, function: Callable[..., R], calls: Calls, sizes: Sequence[int]
    ) -> list[R]: ...


def here(workers: int = 1, tick: Tick = lambda _: None) -> Run:
    """A `Run` in up to so many processes of this machine; the functions tick what they count."""

    def run(name: str, function: Callable[..., R], calls: Calls, sizes: Sequence[int]) -> list[R]:
        return run_by_size(function, calls, sizes, workers, tick)

    return run


ALONE = here()
"""One process, which shows no progress."""


@dataclass
class Shared:
    """A `Run` that shares the calls with all processes that make the same ones in the same scope.

    unit: a noun for the calls. Raises DataError when others have planned other calls, and what the executor
    raises.
    """

    scope: Scope
    execute: Executor
    progress: Progress
    unit: str
    _names: Counter[str] = field(default_factory=Counter)

    def __call__(self, name: str, function: Callable[..., R], calls: Calls, sizes: Sequence[int]) -> list[R]:
        self._names[name] += 1
        cut = [[calls[number] for number in batch] for batch in batches(sizes)]
        digest = xxhash.xxh3_128_hexdigest(msgspec.json.encode(cut))
        step = Step[Scope](
            name=f"{name}-{self._names[name]}",
            unit=self.unit,
            at=PLACE,
            inputs=partial(_inputs, digest),
            plan=partial(_plan, cut),
            run=partial(_make, function),
        )
        whole = run_step(step, self.scope, self.execute, self.progress)
        records = [load_record(step.directory(self.scope) / f"{part.part}.json") for part in whole.parts]
        return [result for record in records for result in record.noted(_Results).results]


@dataclass(frozen=True)
class _Results:
    """What the calls of a part returned, in order."""

    results: list[Any] = field(default_factory=list)


def _inputs(digest: str, scope: Scope) -> dict[str, str]:
    return {"calls": digest}


def _plan(cut: Sequence[Calls], scope: Scope, save: Save) -> list[Part]:
    return [
        Part(name=f"{number:05d}", size=len(batch), spec={"calls": batch}) for number, batch in enumerate(cut)
    ]


def _make(function: Callable[..., Any], task: Task[Scope]) -> Made:
    calls, results = task.part.spec["calls"], []
    for arguments in calls:
        results.append(function(*arguments, lambda _: task.tick(0)))  # it gets on, but is not done yet
        task.tick(1)
    return Made(outputs={}, entered=len(calls), passed=len(calls), notes=_Results(results))
