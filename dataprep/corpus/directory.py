"""The directory of a corpus: where its facts and decisions stand, and which of them are finished."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataprep.corpus import known_files
from dataprep.corpus.frozen import FROZEN, freeze, refuse_edits
from dataprep.corpus.known_files import RECIPE
from dataprep.corpus.recipe import Recipe, load_recipe
from dataprep.errors import DataError, UsageError
from dataprep.store import root_manifest
from dataprep.store.checksummed_json import RESTORE
from dataprep.store.files import Output, replace, write_once
from dataprep.store.records import Record, load_step, records_in, step_path

JOBS = "jobs"
"""The plans of steps under way, and what workers tell; nothing there is needed by what is finished."""
NO_PLANS = frozenset(["exclusive", "fetched", "workers"])
"""What `jobs` holds besides plans."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def name_after(file: str, otherwise: str) -> str:
    """The name of an increment after a file's: what stands before the first dot, with - for other signs.

    otherwise: its name where the file's makes none.

    >>> name_after("My books (1).txt.gz", "text"), name_after("~", "text")
    ('My-books-1', 'text')
    """
    return _NO_NAME.sub("-", file.split(".")[0]).strip("-_") or otherwise


@dataclass(frozen=True)
class Increment:
    """The facts of one ingest; the number is its place in the corpus order."""

    number: int
    name: str
    path: Path

    @staticmethod
    def at(path: Path) -> Increment:
        """The increment in a directory, by its name: `0001-2013-08`."""
        number, _, name = path.name.partition("-")
        return Increment(int(number), name, path)

    @property
    def key(self) -> str:
        """The number as names of files have it."""
        return f"{self.number:04d}"

    @property
    def closed(self) -> bool:
        """Every step is done, and builds may read it."""
        return self.summary_path.exists()

    @property
    def summary_path(self) -> Path:
        """Written last, when every step is done."""
        return self.path / "increment.json"

    def parts(self, step: str) -> list[Record]:
        """The finished parts of a step, in order, without their notes; of an unfinished step those so far.

        Raises DataError when the step file of a closed increment is gone.
        """
        path = step_path(self.path, step)
        return load_step(path).parts if self.closed or path.exists() else self.records(step)

    def records(self, step: str) -> list[Record]:
        """The records of a step's finished parts, in order, with their notes."""
        return records_in(self.path / step)

    def outputs(self, step: str, name: str) -> list[Output]:
        """The output of that name of each finished part that has one."""
        return [part.outputs[name] for part in self.parts(step) if name in part.outputs]

    @property
    def link_tables(self) -> list[Output]:
        """The tables of links of this increment: those that entered, those retried."""
        return self.outputs("links", "links") + self.outputs("retry", "links")


@dataclass(frozen=True)
class Build:
    """The decisions of one selection over all increments so far."""

    name: str
    path: Path

    def of(self, increment: Increment) -> Path:
        """The directory of the decisions on one increment."""
        return self.path / increment.path.name

    def parts(self, step: str, increment: Increment | None = None) -> list[Record]:
        """The parts of a step that is done, in order: those of one increment, or of all in their order."""
        directories = [self.of(increment)] if increment else sorted(self.path.glob(DECISIONS))
        paths = [step_path(directory, step) for directory in directories]
        return [part for path in paths if path.exists() for part in load_step(path).parts]

    def outputs(self, step: str, name: str, increment: Increment) -> list[Output]:
        """The output of that name of each part of a step that is done."""
        return [part.outputs[name] for part in self.parts(step, increment)]

    def has(self, step: str, increment: Increment) -> bool:
        """Whether a step of an increment is done."""
        return step_path(self.of(increment), step).exists()


DECISIONS = "[0-9]*-*"
"""The names of increments, and of the directories of a build's decisions on them."""
INDEX = "index"
"""The folder of the index of all links; of an import, also the part of the step `links` that names it."""


@dataclass(frozen=True)
class Index:
    """All links after an increment: the files of `links.index.LinkIndex`, in the order of their keys."""

    urls: list[Output]
    submissions: list[Output]


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk. Paths in records are relative to `root`."""

    root: Path
    recipe: Recipe

    @staticmethod
    def create(root: Path, recipe: Recipe) -> Corpus:
        """Make an empty corpus; raises DataError when another one stands there."""
        path = root / RECIPE
        if not path.exists():
            root_manifest.create(root)
            known_files.refuse_losses(root)
        if not write_once(path, recipe.text().encode()) and _own_recipe(root) != recipe:
            raise DataError(f"{root}: holds a corpus with another recipe; choose another directory")
        freeze(root, recipe.collect)
        known_files.remember(root)
        return Corpus(root, recipe)

    @staticmethod
    def open(
        root: Path, *, forgetting: bool = False, remaking: bool = False, damaged: bool = False
    ) -> Corpus:
        """Open a corpus.

        Raises DataError when there is none, while a `forget` has to be finished, when what it collects was
        edited, and when facts are missing.

        forgetting: open it in order to finish that. remaking: open it to make an increment, which makes some
        missing facts again. damaged: open it whatever is missing.
        """
        if not (root / RECIPE).is_file():
            if (root / root_manifest.NAME).exists():
                known_files.refuse_losses(root)
            raise DataError(
                f"{root}: no corpus here ({RECIPE} is missing); make one with `outbound corpus init`"
            )
        if not damaged:
            known_files.refuse_losses(root, remaking)
        if not forgetting and (begun := known_files.unfinished_forget(root)):
            raise DataError(begun)
        recipe = _own_recipe(root)
        if not (root / FROZEN).exists() and not damaged:  # killed just before it was written
            freeze(root, recipe.collect)
        if not damaged or (root / FROZEN).exists():
            refuse_edits(root, recipe.collect)
        return Corpus(root, recipe)

    def plans(self) -> list[Path]:
        """Where plans stand of steps under way: without them, the steps are planned anew."""
        return sorted(path for path in (self.root / JOBS).glob("*") if path.name not in NO_PLANS)

    def fetched_mark(self, increment: Increment) -> Path:
        """A file that stands when the last crawl of an increment came to its end: workers go on then."""
        return self.root / JOBS / "fetched" / increment.path.name

    def increments(self) -> list[Increment]:
        """All increments in corpus order, finished or not."""
        found = map(Increment.at, (self.root / "increments").glob(DECISIONS))
        return sorted(found, key=lambda increment: increment.number)

    def known_increment(self, name: str) -> Increment | None:
        """The increment of that name, None if it would be new.

        Raises DataError while an earlier increment is unfinished: which links are new depends on it.
        """
        return self._known(name, self.increments())

    def increment(self, name: str) -> Increment:
        """The increment of that name, made as the last one if it is new; raises DataError as
        `known_increment`."""
        increments = self.increments()
        if known := self._known(name, increments):
            return known
        number = increments[-1].number + 1 if increments else 1
        path = self.root / "increments" / f"{number:04d}-{name}"
        path.mkdir(parents=True, exist_ok=True)  # the same command may run twice
        rivals = [other for other in self.increments() if other.number == number and other.name != name]
        if rivals:  # begun at the same instant: who lists last sees the other and gives way, or both do
            path.rmdir()
            raise DataError(f"{rivals[0].path}: began at the same instant as {name}; run the command again")
        return Increment(number, name, path)

    def _known(self, name: str, increments: list[Increment]) -> Increment | None:
        if not _NAME.fullmatch(name):
            raise DataError(f"{name!r}: an increment's name is made of letters, digits, dots, - and _")
        for increment in increments:
            if increment.name == name:
                return increment
            if not increment.closed:
                raise DataError(
                    f"{increment.path}: is not finished; run its `outbound corpus add` or `outbound corpus "
                    f"import` again, or `outbound corpus drop {self.root} {increment.name}`"
                )
        return None

    def drop(self, name: str) -> Path:
        """Remove an unfinished increment with its index, so that it can begin anew; returns where it was.

        The directory leaves the list by one rename; what a kill leaves after that, the next call or `gc`
        removes. Raises DataError when there is none of that name or it is closed: facts stay.
        """
        increments = self.root / "increments"
        known = (Path(file).parts for file in root_manifest.known(self.root))
        named = (increments / parts[1] for parts in known if parts[0] == "increments")
        for increment in {*self.increments(), *map(Increment.at, named)}:
            if increment.name != name:
                continue
            if known_files.was_closed(self.root, increment.path.name):
                raise DataError(f"{increment.path}: is finished, and its facts stay")
            root_manifest.release(self.root, [str(increment.path.relative_to(self.root))])
            links = step_path(increment.path, "links")
            links.unlink(missing_ok=True)  # first: without it, the increment is unfinished still
            for array in (self.root / "index").glob(f"{increment.key}-*.npy"):
                array.unlink()
            increment.path.mkdir(exist_ok=True)  # all of it may be lost
            self.fetched_mark(increment).unlink(missing_ok=True)
            away = increments / f".dropped-{increment.path.name}"
            shutil.rmtree(away, ignore_errors=True)  # left by an earlier drop that was killed
            increment.path.rename(away)
        dropped = list(increments.glob(f".dropped-[0-9]*-{name}"))
        if not dropped:
            raise DataError(f"{self.root}: has no increment {name!r}; `outbound corpus status` lists them")
        for path in dropped:
            shutil.rmtree(
                self.root / JOBS / "increments" / path.name.removeprefix(".dropped-"), ignore_errors=True
            )
            shutil.rmtree(path)
        return increments / dropped[0].name.removeprefix(".dropped-")

    def discard(self, path: Path) -> None:
        """Remove a directory, which leaves its place by one rename; what a kill leaves, `gc` removes."""
        away = self.root / JOBS / "discarded"
        shutil.rmtree(away, ignore_errors=True)
        away.parent.mkdir(exist_ok=True)
        path.rename(away)
        shutil.rmtree(away)
        with suppress(OSError):  # plans stand beside it
            away.parent.rmdir()

    def before(self, increment: Increment) -> Increment | None:
        """The increment just before this one."""
        earlier = [other for other in self.increments() if other.number < increment.number]
        return earlier[-1] if earlier else None

    def index(self, increment: Increment) -> Index | None:
        """The index that the links of an increment left; None while they are not finished."""
        if not (increment.closed or step_path(increment.path, "links").exists()):
            return None
        named = [item for part in increment.parts("links") for item in part.outputs.items()]
        urls, submissions = (
            [output for key, output in named if key.partition("/")[0] == name]
            for name in ("urls", "submissions")
        )
        return Index(urls, submissions) if urls else None

    def named_build(self, name: str) -> Build:
        """The build of that name."""
        return Build(name, self.root / "builds" / name)

    def find_build(self, name: str) -> Build:
        """The one build whose name begins so, or `current`; raises DataError that lists what there is."""
        if name == "current":
            return self.current_build()
        there = sorted(path.name for path in (self.root / "builds").glob("*") if path.is_dir())
        found = [build for build in there if build.startswith(name)]
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
        content = pointer.read_bytes().decode(errors="replace") if self.has_build else ""
        name = content.removesuffix("\n")
        if content != f"{name}\n" or not name.isalnum() or not (pointer.parent / name).is_dir():
            raise DataError(f"{pointer}: names no build; {self.way_to_a_build}")
        return self.named_build(name)

    @property
    def build(self) -> Build | None:
        """The current build; None before the first. Raises DataError when it is there no more."""
        return self.current_build() if self.has_build else None

    @property
    def way_to_a_build(self) -> str:
        """What makes the build of the recipe, in words for a person."""
        if any(increment.closed for increment in self.increments()):
            return f"`outbound corpus select {self.root}` makes one current"
        return f"an increment has to be finished first (`outbound corpus status {self.root}` says how)"

    def make_current(self, build: Build) -> None:
        """Point `current` at a build."""
        replace(self.root / "builds" / "current", f"{build.name}\n".encode())


@dataclass(frozen=True)
class Facts:
    """The scope of the steps that bring an increment to facts."""

    corpus: Corpus
    increment: Increment

    @property
    def root(self) -> Path:
        return self.corpus.root

    @property
    def places(self) -> dict[str, Path]:
        """`reading` is for what goes when the links of the increment are in."""
        return {"facts": self.increment.path, "reading": self.increment.path / "work"}


@dataclass(frozen=True)
class Decisions:
    """The scope of the steps of a selection over one increment, once the increments before it are decided."""

    corpus: Corpus
    build: Build
    increment: Increment

    @property
    def root(self) -> Path:
        return self.corpus.root

    @property
    def places(self) -> dict[str, Path]:
        """`work` is for what goes when the increment is decided."""
        own = self.build.of(self.increment)
        return {
            "work": own / "work",
            "decisions": own,
            "build": self.build.path,
            **Facts(self.corpus, self.increment).places,
        }


PLACES = {
    "facts": "increments/[0-9]*-*",
    "reading": "increments/[0-9]*-*/work",
    "work": "builds/*/[0-9]*-*/work",
    "decisions": "builds/*/[0-9]*-*",
    "build": "builds/*",
}
"""Patterns of all directories in which steps of a corpus stand, by `Step.at`."""


def _own_recipe(root: Path) -> Recipe:
    """The recipe that stands in a corpus; raises DataError when it was damaged or edited into nonsense."""
    try:
        return load_recipe(root / RECIPE)
    except UsageError as error:  # the command that was given is not wrong
        raise DataError(f"{error}; {RESTORE}") from None
