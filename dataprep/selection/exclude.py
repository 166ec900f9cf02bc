"""Other corpora whose documents displace ours (`select.exclude`), as GPT-3 took WebText out of Common Crawl.

All that passed the thresholds there is earlier than anything here. A build is made against the builds that
were current over there when it began: they are pinned by hash and enter its name, so when another corpus
changes, the next selection is another build.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from dataprep.corpus.directory import DECISIONS, Build, Corpus, Increment
from dataprep.corpus.recipe import Select, select_hash
from dataprep.errors import DataError
from dataprep.store.checksummed_json import dump, load
from dataprep.store.files import write_once
from dataprep.store.records import Record, origin, step_path

PINS = "excluded.json"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One corpus as the recipe spells it, its build, and the origin of each increment's verdicts in that."""

    corpus: str
    build: str
    verdicts: dict[str, str]


@dataclass(frozen=True)
class Pins:
    """What `excluded.json` holds."""

    corpora: list[Pin]


def build_of(corpus: Corpus) -> Build:
    """The build of a corpus's recipe, begun or not, against what the corpora that it excludes are now."""
    return _named(corpus, _pins(corpus))


def select_of(corpus: Corpus, build: Build) -> Select | None:
    """The rules of a build; None of one that `corpus select` made with changes to the recipe."""
    with suppress(DataError):  # a corpus that the recipe excludes is not there any more
        if build_of(corpus).name == build.name:
            return corpus.recipe.select
    return None


def begin(corpus: Corpus) -> Build:
    """That build, with its directory and what it is pinned to."""
    pins = _pins(corpus)
    build = _named(corpus, pins)
    build.path.mkdir(parents=True, exist_ok=True)
    if pins:
        write_once(build.path / PINS, dump(Pins(pins)))
    return build


def _pins(corpus: Corpus) -> list[Pin]:
    return [_pin(corpus, other) for other in corpus.recipe.select.exclude]


def _named(corpus: Corpus, pins: list[Pin]) -> Build:
    return corpus.named_build(select_hash(corpus.recipe.select, [asdict(pin) for pin in pins]))


def verdicts_against(corpus: Corpus, build: Build) -> Iterator[tuple[Corpus, Increment, list[Record]]]:
    """All increments that a build was made against: their corpus, and the verdicts on them.

    Raises DataError when they are no longer what they were.
    """
    path = build.path / PINS
    for pin in load(path, Pins).corpora if path.exists() else []:
        other = Corpus.open((corpus.root / pin.corpus).resolve())
        there = other.named_build(pin.build)
        now = _verdicts(there)
        increments = {increment.path.name: increment for increment in other.increments()}
        for name, verdicts in pin.verdicts.items():
            if now.get(name) != verdicts:
                raise DataError(
                    f"{other.root}: increment {name} of its build {pin.build} is not what {build.path} was "
                    "begun against; run the command again for a build against what it is now"
                )
            yield other, increments[name], there.parts("verdicts", increments[name])


def _pin(corpus: Corpus, path: str) -> Pin:
    root = (corpus.root / path).resolve()
    if root == corpus.root.resolve():
        raise DataError(f"select.exclude: {path}: is the corpus itself")
    other = Corpus.open(root)
    build = other.current_build()
    verdicts = _verdicts(build)
    for increment in other.increments():
        if increment.closed and increment.path.name not in verdicts:
            raise DataError(
                f"{increment.path}: is not in the current build of {root}, which is to be excluded; run "
                f"`outbound corpus select {root}` first"
            )
    return Pin(corpus=path, build=build.name, verdicts=verdicts)


def _verdicts(build: Build) -> dict[str, str]:
    """The origin of the verdicts on each increment that a build covers, by the increment's directory."""
    directories = sorted(path for path in build.path.glob(DECISIONS) if step_path(path, "verdicts").exists())
    return {path.name: origin(path, "verdicts") for path in directories}
