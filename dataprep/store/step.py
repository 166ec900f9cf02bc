"""Steps: a chain of work as data, and the one function that does a step.

A step plans its parts, makes each of them, and sums them up:

    jobs/.../extract.plan.json         the plan: the list of parts, written once
    .../extract/part-00000.json        the record of a part, written last, first wins
    .../extract.step.json              the step file, when all parts are done

A plan and a part are functions of files, so any process makes the same bytes, in any order: it needs the
directory, the step and the name of the part. Who makes which part is the business of an executor, here a pool
of processes. Nothing here knows what a corpus is: `dataprep/steps.py` and `dataprep/pack/steps.py` have the
lists.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import numpy.typing as npt
import pyarrow as pa

from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import (
    Output,
    attempt_path,
    publish,
    publish_array,
    publish_table,
    replace,
    write_once,
)
from dataprep.store.pool import Progress, Tick, run_all
from dataprep.store.records import (
    REMEDY,
    Record,
    StepFile,
    commit,
    load_record,
    load_step,
    made_from_others,
    recommit,
    step_path,
    sum_up,
)
from dataprep.store.workers import workers_folder


class Scope(Protocol):
    """What a chain of steps is about: one increment, say, or one pack. Workers get it pickled."""

    @property
    def root(self) -> Path:
        """The directory to which paths in records are relative."""

    @property
    def places(self) -> Mapping[str, Path]:
        """Where the folders of steps stand, by `Step.at`."""


S = TypeVar("S", bound=Scope)


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One part of a plan. size: in the step's unit, 0 if unknown. spec: what `run` must know of the part."""

    name: str
    size: int = 0
    spec: dict[str, Any] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a step, and what they are made from.

    unit: of the step. outputs: arrays that all parts share, by name.
    """

    step: str
    unit: str = "parts"
    inputs: dict[str, str]
    versions: dict[str, str]
    parts: list[Part]
    outputs: dict[str, Output]


@dataclass(frozen=True, kw_only=True)
class Made:
    """The result of a part, from which its record is written. notes: a dataclass, or None."""

    outputs: dict[str, Output]
    entered: int
    passed: int
    reasons: dict[str, int] = field(default_factory=dict)
    notes: Any = None


Save = Callable[[str, npt.NDArray[Any]], None]
"""save(name, array) publishes an array that belongs to a plan."""


@dataclass(frozen=True, kw_only=True)
class Task(Generic[S]):
    """The argument of `Step.run`: one part, and all that making it needs.

    directory: where the outputs go. planned: the plan's arrays, by name. earlier: the record that this part
    replaces, made by other versions or from other inputs. processes: how many the part may use itself.
    """

    scope: S
    part: Part
    directory: Path
    planned: dict[str, Output]
    earlier: Record | None
    processes: int
    tick: Tick

    def attempt(self, name: str = "") -> Path:
        """A path that no other process uses, for a file that is still being written."""
        return attempt_path(self.directory, self._stem(name))

    def publish(self, written: Path, suffix: str, name: str = "", rows: int = 0) -> Output:
        """Publish a file that was written at `attempt(name)`."""
        return publish(self.scope.root, written, self._stem(name), suffix, rows)

    def publish_array(self, array: npt.NDArray[Any], name: str = "") -> Output:
        """Publish an array as .npy."""
        return publish_array(self.scope.root, self.directory, self._stem(name), array)

    def publish_table(self, table: pa.Table, name: str = "") -> Output:
        """Publish a table as Parquet."""
        return publish_table(self.scope.root, self.directory, self._stem(name), table)

    def _stem(self, name: str) -> str:
        return f"{self.part.name}-{name}" if name else self.part.name


def _nothing(scope: Any) -> dict[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Step(Generic[S]):
    """One row of a list of steps. Its functions belong to modules, so that a row can be sent to workers.

    name: the word for the step on the command line, in the funnel, of its folder and of its progress bar.
    unit: what its parts count. at: the place of its folder, a key of `Scope.places`.
    temporary: its files are removed when the next step that lasts is whole.
    aside: not every increment has this step.
    reads: the names of the steps whose files it reads. inputs: what else it reads, name -> hash.
    plan: lists the parts, from committed files alone. A step without a plan is led by its own module, which
    commits the records, since what is left to do depends on what was done.
    run: makes one part. divisible: `run` can use several processes itself.
    versions: of the code that decides the bytes, name -> version. remake: whether to make a part again that
    has other versions or inputs. Without it, a part of other versions stays, and one of other inputs is an
    error. Temporary parts are always made again.
    forget: returns the record without what is forgotten. None: its files hold nothing that can be read.
    """

    name: str
    unit: str
    at: str
    temporary: bool = False
    aside: bool = False
    reads: tuple[str, ...] = ()
    inputs: Callable[[S], dict[str, str]] = _nothing
    plan: Callable[[S, Save], list[Part]] | None = None
    run: Callable[[Task[S]], Made] | None = None
    divisible: bool = False
    versions: Callable[[S], dict[str, str]] = _nothing
    remake: Callable[[S, Part], bool] | None = None
    forget: Callable[[Any, Path, Record], Record] | None = None

    def directory(self, scope: S) -> Path:
        """The folder of its records and files."""
        return scope.places[self.at] / self.name

    def file(self, scope: S) -> Path:
        """Its step file."""
        return step_path(scope.places[self.at], self.name)

    def is_whole(self, scope: S) -> bool:
        """Whether all its parts are done."""
        return self.file(scope).exists()


class Executor(Protocol):
    """Decides which process makes which part. joins: processes of other commands make parts of the same plan,
    so it must not be replaced."""

    @property
    def joins(self) -> bool: ...

    def __call__(self, step: Step[S], scope: S, parts: Sequence[str], tick: Tick) -> None:
        """Make these parts of a planned step; `tick` counts units."""


@dataclass(frozen=True)
class LocalPool:
    """An executor: a pool of processes on this machine."""

    workers: int
    joins: bool = False

    def __call__(self, step: Step[S], scope: S, parts: Sequence[str], tick: Tick) -> None:
        """Make the parts in parallel; a few divisible parts are made one by one, each by all workers."""
        few = step.divisible and len(parts) < 4 * self.workers
        workers, processes = (1, self.workers) if few else (self.workers, 1)
        run_all(make_part, [(step, scope, name, processes) for name in parts], workers, tick)


def run_steps(steps: Sequence[Step[S]], scope: S, execute: Executor, progress: Progress) -> None:
    """Do some steps in order; of temporary ones only those whose files are still needed.

    Their files go when the step that needs them is whole.
    """
    chain: list[Step[S]] = []
    for step in steps:
        chain.append(step)
        if step.temporary:
            continue
        for member in [step] if step.is_whole(scope) else chain:
            if member is not step and step.is_whole(scope):
                break  # another command has done all of it meanwhile
            try:
                run_step(member, scope, execute, progress)
            except (DataError, OSError):
                if not step.is_whole(scope):
                    raise
                break  # and has removed what is needed no more
        for member in chain[:-1]:
            remove_step(member, scope)
        chain = []


def run_step(step: Step[S], scope: S, execute: Executor, progress: Progress) -> StepFile:
    """Do a step, or what is left of it; returns its step file.

    Raises DataError when it was made from other inputs.
    """
    if step.is_whole(scope):
        whole, inputs = load_step(step.file(scope)), inputs_of(step, scope)
        if whole.inputs == inputs and not _outdated(step, scope, whole):
            return whole
        if whole.inputs != inputs and not (step.remake or step.temporary):
            raise made_from_others(step.file(scope), whole.inputs, inputs)
    plan = plan_step(step, scope, execute.joins)
    size = sum(part.size for part in plan.parts)
    with progress(step.name, size or None, step.unit) as tick:
        left = [part for part in plan.parts if standing(step, scope, plan, part) is None]
        tick(size - sum(part.size for part in left))
        execute(step, scope, [part.name for part in left], tick)
    if step.is_whole(scope):  # another command was first, if it was of this plan
        whole = load_step(step.file(scope))
        if (whole.inputs, whole.versions) == (plan.inputs, plan.versions):
            return whole
    return finish_step(step, scope, plan)


def plan_step(step: Step[S], scope: S, joins: bool = False) -> Plan:
    """The plan of a step: that which stands, or a new one in place of one made by other versions, say.

    joins: that one is not replaced; raises DataError then.
    """
    assert step.plan, step.name
    path = plan_path(step, scope)
    inputs, versions = inputs_of(step, scope), step.versions(scope)
    if path.exists():
        plan = load(path, Plan, REMEDY)
        if plan.inputs == inputs and plan.versions == versions:
            return plan
        if joins:
            raise _planned_otherwise(path, plan, inputs, versions)
        _discard_plan(step, scope)
    outputs: dict[str, Output] = {}

    def save(name: str, array: npt.NDArray[Any]) -> None:
        outputs[name] = publish_array(scope.root, path.parent, f"{step.name}.{name}", array)

    parts = step.plan(scope, save)
    plan = Plan(
        step=step.name, unit=step.unit, inputs=inputs, versions=versions, parts=parts, outputs=outputs
    )
    if not write_once(path, dump(plan)):  # another process planned it at the same time
        return plan_step(step, scope, joins)
    return plan


def _planned_otherwise(path: Path, plan: Plan, inputs: dict[str, str], versions: dict[str, str]) -> DataError:
    then, now = plan.versions | plan.inputs, versions | inputs
    differ = ", ".join(
        f"{name} {then.get(name, 'none')}, here {now.get(name, 'none')}"
        for name in sorted(dict(then.items() ^ now.items()))
    )
    return DataError(
        f"{path}: was planned with other versions or inputs ({differ}); let all workers have the same ones, "
        "or, when no worker is left that has those of the plan, remove the plan"
    )


def make_part(step: Step[S], scope: S, name: str, processes: int, tick: Tick) -> Record:
    """Make one part of a planned step, unless it is done."""
    assert step.run, step.name
    directory = step.directory(scope)
    path = directory / f"{name}.json"
    if path.exists() and not plan_path(step, scope).exists():  # another command has finished the step
        return load_record(path)
    plan = load(plan_path(step, scope), Plan, REMEDY)
    if plan.versions != step.versions(scope):
        raise _planned_otherwise(plan_path(step, scope), plan, plan.inputs, step.versions(scope))
    part = next(part for part in plan.parts if part.name == name)
    if record := standing(step, scope, plan, part):
        tick(part.size)
        return record
    before = load_record(path) if path.exists() else None
    made = step.run(
        Task(
            scope=scope,
            part=part,
            directory=directory,
            planned=plan.outputs,
            earlier=before,
            processes=processes,
            tick=tick,
        )
    )
    record = Record(
        step=step.name,
        part=name,
        inputs=plan.inputs,
        outputs=made.outputs,
        entered=made.entered,
        passed=made.passed,
        reasons=made.reasons,
        versions=plan.versions,
        notes=msgspec.to_builtins(made.notes) if made.notes else {},
    )
    return recommit(path, record) if before else commit(path, record)


def finish_step(step: Step[S], scope: S, plan: Plan) -> StepFile:
    """Write the step file of a step all of whose parts are done.

    The plan goes before that, so that a kill leaves nothing behind that no command needs.
    """
    directory, path = step.directory(scope), step.file(scope)
    paths = [directory / f"{part.name}.json" for part in plan.parts]
    content = sum_up(step.name, plan.inputs, plan.versions, [load_record(path) for path in paths])
    for stale in {*directory.glob("*.json")} - {*paths}:
        stale.unlink(missing_ok=True)  # of a plan that other inputs or versions have replaced
    _discard_plan(step, scope)
    if step.remake or step.temporary:
        replace(path, content)
    else:
        write_once(path, content)
    return load_step(path)


def remove_step(step: Step[S], scope: S) -> None:
    """Remove the step file and all other files of a step, with a plan that is still there."""
    step.file(scope).unlink(missing_ok=True)
    shutil.rmtree(step.directory(scope), ignore_errors=True)
    _discard_plan(step, scope)  # of a command that was slower than another
    _remove_empty(scope.places[step.at], scope.root)


def read_step(scope: Scope, name: str) -> StepFile:
    """The file of a step, wherever in the scope it stands. Raises DataError when it is not finished."""
    paths = [step_path(place, name) for place in scope.places.values()]
    for path in paths:
        if path.exists():
            return load_step(path)
    raise DataError(
        f"{paths[-1].name}: is in none of {', '.join(str(path.parent) for path in paths)}; run the command "
        "again, or, if that step was finished, restore it from a copy"
    )


def inputs_of(step: Step[S], scope: S) -> dict[str, str]:
    """What the parts of a step are made from, with hashes: steps by the origin of their files."""
    return {name: read_step(scope, name).origin for name in step.reads} | step.inputs(scope)


def standing(step: Step[S], scope: S, plan: Plan, part: Part) -> Record | None:
    """The record of a part of a plan that need not be made, or None.

    Raises DataError for one that was made from other inputs.
    """
    path = step.directory(scope) / f"{part.name}.json"
    if not path.exists():
        return None
    record = load_record(path)
    same = record.inputs == plan.inputs
    if same and (record.versions == plan.versions or not (step.remake or step.temporary)):
        return record
    if step.temporary or (step.remake and step.remake(scope, part)):
        return None
    if not same:
        raise made_from_others(path, record.inputs, plan.inputs)
    return record


def _outdated(step: Step[S], scope: S, whole: StepFile) -> bool:
    """Whether a part was made by other versions, and is to be made again."""
    if not step.remake:
        return False
    versions = step.versions(scope)
    return any(part.versions != versions and step.remake(scope, Part(name=part.part)) for part in whole.parts)


def _discard_plan(step: Step[S], scope: S) -> None:
    """Remove the plan of a step, with its arrays, claims and failures."""
    path = plan_path(step, scope)
    path.unlink(missing_ok=True)
    beside: list[Path] = []
    with suppress(FileNotFoundError):  # another command removes the folder meanwhile
        beside = [*path.parent.glob(f"{step.name}.*")]
    for left in beside:
        if left == step.file(scope):  # of a step that stands in `jobs` itself
            continue
        if left.is_dir():  # claims and failures of workers
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    if not workers_folder(
        scope.root
    ).exists():  # else another worker may be about to plan the next step there
        _remove_empty(path.parent, scope.root)


def _remove_empty(directory: Path, root: Path) -> None:
    """Remove a directory below `root`, and those that held nothing else."""
    with suppress(OSError):
        for path in (directory, *directory.parents):
            if path == root:
                return
            path.rmdir()


def plan_path(step: Step[S], scope: S) -> Path:
    """Where the plan of a step stands while it is open: in `jobs`, where the step itself may stand, too."""
    place = scope.places[step.at].relative_to(scope.root)
    folder = place if place.parts[0] == "jobs" else "jobs" / place
    return scope.root / folder / f"{step.name}.plan.json"
