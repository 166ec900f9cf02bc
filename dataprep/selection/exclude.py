"""Other corpora whose documents displace ours (`select.exclude`), as GPT-3 took WebText out of Common Crawl.

All that passed the thresholds there is earlier than anything here. A build is made against the builds that
were current over there when it began: they are pinned by hash and enter its name, so when another corpus
changes, the next selection is another build.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import xxhash

from dataprep.corpus.directory import Build, Corpus, Increment
from dataprep.corpus.recipe import select_hash
from dataprep.errors import DataError
from dataprep.store.checksummed_json import sealed, unsealed
from dataprep.store.files import write_once
from dataprep.store.records import Record

PINS = "excluded.json"


@dataclass(frozen=True)
class Pin:
    """One corpus as the recipe spells it, its build, and the hash of each increment's verdicts in that."""

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


def begin(corpus: Corpus) -> Build:
    """That build, with its directory and what it is pinned to."""
    pins = _pins(corpus)
    build = _named(corpus, pins)
    build.path.mkdir(parents=True, exist_ok=True)
    if pins:
        write_once(build.path / PINS, sealed(Pins(pins)))
    return build


def _pins(corpus: Corpus) -> list[Pin]:
    return [_pin(corpus, other) for other in corpus.recipe.select.exclude]


def _named(corpus: Corpus, pins: list[Pin]) -> Build:
    return corpus.named_build(select_hash(corpus.recipe.select, [asdict(pin) for pin in pins]))


def verdicts_against(corpus: Corpus, build: Build) -> Iterator[tuple[str, Corpus, Increment, Record]]:
    """All increments that a build was made against: the corpus, as spelt and open, and the verdicts.

    Raises DataError when they are no longer what they were.
    """
    path = build.path / PINS
    for pin in unsealed(path, Pins).corpora if path.exists() else []:
        other = Corpus.open((corpus.root / pin.corpus).resolve())
        records = {record.part: record for record in other.named_build(pin.build).records("verdicts")}
        increments = {f"{each.number:04d}": each for each in other.increments()}
        for part, digest in pin.verdicts.items():
            if part not in records or _digest(records[part]) != digest:
                raise DataError(
                    f"{other.root}: increment {part} of its build {pin.build} is not what {build.path} was "
                    "begun against; run the command again for a build against what it is now"
                )
            yield pin.corpus, other, increments[part], records[part]


def _pin(corpus: Corpus, path: str) -> Pin:
    root = (corpus.root / path).resolve()
    if root == corpus.root.resolve():
        raise DataError(f"select.exclude: {path}: is the corpus itself")
    other = Corpus.open(root)
    build = other.current_build()
    records = {record.part: record for record in build.records("verdicts")}
    for increment in other.increments():
        if increment.closed and f"{increment.number:04d}" not in records:
            raise DataError(
                f"{increment.path}: is not in the current build of {root}, which is to be excluded; run "
                f"`outbound corpus select {root}` first"
            )
    return Pin(path, build.name, {part: _digest(record) for part, record in sorted(records.items())})


def _digest(verdicts: Record) -> str:
    return xxhash.xxh3_128_hexdigest("".join(output.xxh3_128 for output in verdicts.outputs).encode())
