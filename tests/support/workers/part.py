"""Make one part of a step in a process of its own: `python -m support.workers.part DIRECTORY STEP PART`.

DIRECTORY is that of an increment, of a build's decisions on one, or of token shards. Tasks are small, so that
a small corpus has several of each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dataprep.corpus.directory import Build, Corpus, Decisions, Facts
from dataprep.links import repeats
from dataprep.links import stage as links
from dataprep.pack import merge
from dataprep.pack.packing import Packing
from dataprep.pack.steps import STEPS as PACK
from dataprep.selection import candidates, corpus_order, near_duplicates, ranks, shingles
from dataprep.steps import STEPS
from dataprep.store.step import Scope, Step, make_part

SMALL: list[tuple[Any, str, int]] = [
    (repeats, "NUMBER_BYTES", 500),
    (links, "POST_BYTES", 200),
    (candidates, "KEYS_PER_TASK", 100),
    (corpus_order, "RANGE", 8),
    (corpus_order, "SAMPLE", 2),
    (ranks, "PARTITIONS", 2),
    (near_duplicates, "RANGE", 8),
    (shingles, "TEXTS", 4),
    (merge, "BUCKET_TOKENS", 300),
]
"""Module, constant, value: what decides how much is done at once."""


def make(directory: str, name: str, part: str) -> None:
    """Make a part of the step of that name."""
    for module, constant, value in SMALL:
        setattr(module, constant, value)
    scope = scope_of(Path(directory))
    steps: list[Step[Any]] = PACK if isinstance(scope, Packing) else STEPS
    (step,) = (step for step in steps if step.name == name)
    make_part(step, scope, part, 1, lambda _: None)


def directory_of(scope: Scope) -> Path:
    """The directory by which a process is told of a scope."""
    if isinstance(scope, Facts):
        return scope.increment.path
    return scope.build.of(scope.increment) if isinstance(scope, Decisions) else scope.root


def scope_of(directory: Path) -> Scope:
    """The scope of which a process was told so."""
    if directory.parent.name == "increments":
        corpus = Corpus.open(directory.parent.parent)
        return Facts(corpus, _increment(corpus, directory.name))
    if directory.parent.parent.name == "builds":
        corpus = Corpus.open(directory.parent.parent.parent)
        build = Build(directory.parent.name, directory.parent)
        return Decisions(corpus, build, _increment(corpus, directory.name))
    return Packing.load(directory)


def _increment(corpus: Corpus, name: str) -> Any:
    return next(each for each in corpus.increments() if each.path.name == name)


if __name__ == "__main__":
    make(*sys.argv[1:])
