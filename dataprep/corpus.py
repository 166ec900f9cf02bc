"""The directory of a corpus: where its facts and decisions stand, and which of them are finished."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dataprep.errors import DataError, UsageError
from dataprep.frozen import FROZEN, freeze, refuse_edits
from dataprep.recipe import Recipe, load_recipe
from dataprep.seal import RESTORE, unsealed
from dataprep.store import Record, load_record, replace, write_once
from dataprep.tombstones import tombstone_path, unfinished

RECIPE = "recipe.yaml"
DRAWN = ("report.html", "overlap.jsonl")
"""What commands tell of a corpus beside its layers, and tell again when they are asked."""
FACTS = ("links", "retries", "fetches", "documents", "scores")
"""The folders of an increment, in the order in which they are made."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Summary(msgspec.Struct):
    """What of `increment.json` can be held against the records: of each stage, the parts and their counts."""

    stages: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Increment:
    """The facts of one ingest; the number is its place in the corpus order."""

    number: int
    name: str
    path: Path

    @property
    def closed(self) -> bool:
        """Every stage is done, and builds may read it."""
        return self.summary_path.exists()

    @property
    def summary_path(self) -> Path:
        """Written last, when every stage is done."""
        return self.path / "increment.json"

    def records(self, stage: str) -> list[Record]:
        """The records of one stage's finished partitions, in partition order.

        Raises DataError when one that a closed increment lists is gone: its documents would be passed over.
        """
        records = records_in(self.path / stage)
        if self.closed:
            standing = {record.part for record in records}
            for listed in unsealed(self.summary_path, Summary).stages.get(stage, []):
                if listed["part"] not in standing:
                    raise DataError(f"{self.path / stage / listed['part']}.json: is missing; {RESTORE}")
        return records

    @property
    def link_records(self) -> list[Record]:
        """The records whose first table holds links of this increment: those that entered, those retried."""
        return self.records("links") + self.records("retries")


@dataclass(frozen=True)
class Build:
    """The decisions of one selection over all increments so far."""

    name: str
    path: Path

    def records(self, step: str) -> list[Record]:
        """The records of one step (a folder), in increment and partition order."""
        return records_in(self.path / step)


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk. Paths in records are relative to `root`."""

    root: Path
    recipe: Recipe

    @staticmethod
    def create(root: Path, recipe: Recipe) -> Corpus:
        """Make an empty corpus; raises DataError when another one stands there."""
        path = root / RECIPE
        if not write_once(path, recipe.text().encode()) and _own_recipe(root) != recipe:
            raise DataError(f"{root}: holds a corpus with another recipe; choose another directory")
        freeze(root, recipe.collect)
        return Corpus(root, recipe)

    @staticmethod
    def open(root: Path, forgetting: bool = False) -> Corpus:
        """Open a corpus.

        Raises DataError when there is none, while a `forget` has to be finished, and when what it collects
        was edited.

        forgetting: open it in order to finish that.
        """
        if not (root / RECIPE).is_file():
            raise DataError(
                f"{root}: no corpus here ({RECIPE} is missing); make one with `outbound corpus init`"
            )
        if not forgetting and (number := unfinished(root)) is not None:
            raise DataError(
                f"{tombstone_path(root, number)}: was not carried out to its end; "
                f"`outbound corpus forget {root}` finishes it"
            )
        recipe = _own_recipe(root)
        if not (root / FROZEN).exists():  # killed just before it was written
            freeze(root, recipe.collect)
        refuse_edits(root, recipe.collect)
        return Corpus(root, recipe)

    def increments(self) -> list[Increment]:
        """All increments in corpus order, finished or not."""
        found = []
        for path in (self.root / "increments").glob("[0-9]*-*"):
            digits, _, name = path.name.partition("-")
            found.append(Increment(int(digits), name, path))
        return sorted(found, key=lambda increment: increment.number)

    def increment(self, name: str) -> Increment:
        """The increment of that name, made as the last one if it is new.

        Raises DataError while an earlier increment is unfinished: which links are new depends on it.
        """
        if not _NAME.fullmatch(name):
            raise DataError(f"{name!r}: an increment's name is made of letters, digits, dots, - and _")
        increments = self.increments()
        for increment in increments:
            if increment.name == name:
                return increment
            if not increment.closed:
                raise DataError(
                    f"{increment.path}: is not finished; run its `outbound corpus add` or `outbound corpus "
                    f"import` again, or `outbound corpus drop {self.root} {increment.name}`"
                )
        number = increments[-1].number + 1 if increments else 1
        path = self.root / "increments" / f"{number:04d}-{name}"
        path.mkdir(parents=True)
        rivals = [other for other in self.increments() if other.number == number and other.name != name]
        if rivals:  # begun at the same instant: who lists last sees the other and gives way, or both do
            path.rmdir()
            raise DataError(f"{rivals[0].path}: began at the same instant as {name}; run the command again")
        return Increment(number, name, path)

    def drop(self, name: str) -> Path:
        """Remove an unfinished increment with its index, so that it can begin anew; returns where it was.

        The directory leaves the list by one rename; what a kill leaves after that, the next call or `gc`
        removes. Raises DataError when there is none of that name or it is closed: facts stay.
        """
        increments = self.root / "increments"
        for increment in self.increments():
            if increment.name == name:
                if increment.closed:
                    raise DataError(f"{increment.path}: is finished, and its facts stay")
                index = self.index_record(increment)
                index.unlink(missing_ok=True)  # first: without it, the increment is unfinished still
                for array in index.parent.glob(f"{index.stem}-*.npy"):
                    array.unlink()
                increment.path.rename(increments / f".dropped-{increment.path.name}")
        dropped = list(increments.glob(f".dropped-[0-9]*-{name}"))
        if not dropped:
            raise DataError(f"{self.root}: has no increment {name!r}; `outbound corpus status` lists them")
        for path in dropped:
            shutil.rmtree(path)
        return increments / dropped[0].name.removeprefix(".dropped-")

    def before(self, increment: Increment) -> Increment | None:
        """The increment just before this one."""
        earlier = [other for other in self.increments() if other.number < increment.number]
        return earlier[-1] if earlier else None

    def index_record(self, increment: Increment) -> Path:
        """Where the record of the index stands that the links of an increment left."""
        return self.root / "index" / f"{increment.number:04d}.json"

    def index_records(self) -> list[Record]:
        """The records of the index, in increment order."""
        return records_in(self.root / "index")

    def named_build(self, name: str) -> Build:
        """The build of that name."""
        return Build(name, self.root / "builds" / name)

    def find_build(self, name: str) -> Build:
        """The one build whose name begins so, or `current`; raises DataError that lists what there is."""
        if name == "current":
            return self.current_build()
        there = sorted(path.name for path in (self.root / "builds").glob("*") if path.is_dir())
        found = [each for each in there if each.startswith(name)]
        if len(found) != 1:
            what = f"{len(found)} builds begin so" if found else "no build begins so"
            raise DataError(f"{name!r}: {what}; there are: current {' '.join(there)}")
        return self.named_build(found[0])

    @property
    def has_build(self) -> bool:
        """Some build is current."""
        return (self.root / "builds" / "current").is_file()

    def current_build(self) -> Build:
        """The build that `current` names; raises DataError when there is none, yet or any more."""
        pointer = self.root / "builds" / "current"
        name = pointer.read_bytes().decode(errors="replace").strip() if self.has_build else ""
        if not name.isalnum() or not (pointer.parent / name).is_dir():
            raise DataError(f"{pointer}: names no build; {self.way_to_a_build}")
        return self.named_build(name)

    @property
    def way_to_a_build(self) -> str:
        """What makes the build of the recipe, in words for a person."""
        if any(increment.closed for increment in self.increments()):
            return f"`outbound corpus select {self.root}` makes one current"
        return f"an increment has to be finished first (`outbound corpus status {self.root}` says how)"

    def make_current(self, build: Build) -> None:
        """Point `current` at a build."""
        replace(self.root / "builds" / "current", f"{build.name}\n".encode())


def _own_recipe(root: Path) -> Recipe:
    """The recipe that stands in a corpus; raises DataError when it was damaged or edited into nonsense."""
    try:
        return load_recipe(root / RECIPE)
    except UsageError as error:  # the command that was given is not wrong
        raise DataError(f"{error}; {RESTORE}") from None


def records_in(directory: Path) -> list[Record]:
    """The records of a directory, by name."""
    return [load_record(path) for path in sorted(directory.glob("*.json"))]
