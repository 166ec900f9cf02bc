"""How far a corpus is: what was damaged, what each part takes on disk, and what brings it further."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprep import gc
from dataprep.builds import text_shards
from dataprep.corpus import FACTS, Corpus, Increment
from dataprep.doors.inputs import kind_of
from dataprep.funnel import StageCount, funnel


@dataclass(frozen=True, kw_only=True)
class IncrementStatus:
    """One increment: how many partitions of each stage are done, and what was damaged in its inputs."""

    increment: str
    closed: bool
    parts: dict[str, int]
    damage: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Status:
    """All that `corpus status` shows; `bytes` by folder, `next` the command to run next."""

    recipe: str
    build: str | None
    increments: list[IncrementStatus]
    funnel: list[StageCount]
    bytes: dict[str, int]
    next: str


def status(corpus: Corpus) -> Status:
    """How far a corpus is."""
    increments = [
        IncrementStatus(
            increment=increment.path.name,
            closed=increment.closed,
            parts={stage: len(increment.records(stage)) for stage in FACTS},
            damage=damages(increment),
        )
        for increment in corpus.increments()
    ]
    return Status(
        recipe=corpus.recipe.name,
        build=corpus.current_build().name if corpus.has_build else None,
        increments=increments,
        funnel=funnel(corpus.root),
        bytes=sizes(corpus),
        next=next_step(corpus),
    )


def damages(increment: Increment) -> list[dict[str, Any]]:
    """What was damaged in the dumps of an increment, or in the files that it was imported from.

    Each has path, lines, bad_lines, examples and stopped (why reading ended early, or None).
    """
    dumps = [
        damage
        for record in increment.records("links")
        for damage in record.notes.get("dumps", [])
        if damage["bad_lines"] or damage["stopped"]
    ]
    losses = {  # of a file in several partitions, the last count stands for all before it
        loss["path"]: loss
        for record in [r for stage in FACTS for r in increment.records(stage)]
        for loss in record.notes.get("losses", [])
    }
    return dumps + [
        {
            "path": loss["path"],
            "lines": loss["rows"],
            "bad_lines": loss["bad"],
            "examples": loss["examples"],
            "stopped": loss["stopped"],
        }
        for loss in losses.values()
    ]


def sizes(corpus: Corpus) -> dict[str, int]:
    """Bytes on disk by folder: those of the increments together, `index`, `builds`; and what is garbage."""
    found: Counter[str] = Counter()
    for path in corpus.root.rglob("*"):
        if path.is_file():
            place = path.relative_to(corpus.root).parts
            folder = place[2] if place[0] == "increments" and len(place) > 3 else place[0]
            found[folder] += path.stat().st_size
    shown = ("links", "pages", "fetches", "documents", "scores", "index", "builds", "forgotten")
    garbage = sum(each.bytes for each in gc.find(corpus))
    return {name: found[name] for name in shown if found[name]} | {"garbage": garbage}


def next_step(corpus: Corpus) -> str:
    """The command that brings a corpus further, in words for a person."""
    root, increments = corpus.root, corpus.increments()
    if not increments:
        return f"`outbound corpus add {root} DUMP`, or `outbound corpus import {root} FILES --kind KIND`"
    for increment in increments:
        if not increment.closed:
            return f"{_again(root, increment)}, or `outbound corpus drop {root} {increment.name}`"
    build = corpus.current_build() if corpus.has_build else None
    if build is None or not all(text_shards.complete(build, increment) for increment in increments):
        return f"`outbound corpus select {root}`: the current build does not hold all increments"
    return f"`outbound pack {root} --tokenizer T -o TOKENS`, or `outbound corpus add {root} DUMP`"


def _again(root: Path, increment: Increment) -> str:
    """How an open increment goes on: by the door that it came through."""
    kind = kind_of(increment)
    if kind and not increment.records("links"):  # texts, of which nothing stands before documents
        return f"`outbound corpus import {root} ... --kind {kind}` again for {increment.name}"
    command = f"import {root} ... --kind {kind}" if kind else f"add {root} ..."
    return f"`outbound corpus {command}` again for {increment.name}: {_waiting(increment)} is next"


def _waiting(increment: Increment) -> str:
    """The first stage that has left nothing yet."""
    made = [stage for stage in FACTS if stage != "retries" and not increment.records(stage)]
    return made[0] if made else "closing it"
