"""Clean and dirty documents: those that share no text with the corpus, and those that do (GPT-3, section 4).

`outbound corpus overlap CORPUS --sets DATA` lists the dirty lines of each file of the sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dataprep.audit.overlap import short_lines
from dataprep.errors import DataError
from pipeline.eval.documents import Document, Example
from pipeline.eval.intervals import difference, ends, finite, interval, value
from pipeline.eval.measures import Measure, Sums
from pipeline.monitor.evaluations import Part

Mask = npt.NDArray[np.bool_]
"""(documents,) bool."""


@dataclass(frozen=True)
class Overlap:
    """lines: (file, line) of the dirty examples; ids: (file, own id). short: those with fewer words than an
    n-gram has, which cannot be dirty."""

    lines: frozenset[tuple[str, int]]
    ids: frozenset[tuple[str, str]]
    short: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True)
class Masks:
    """Which documents of a task are dirty, and which are short."""

    dirty: Mask
    short: Mask


def read(listed: Path, data: Path, tasks: Iterable[str]) -> Overlap:
    """Read what `outbound corpus overlap` listed of the sets in `data`.

    A set that is no file there may be the examples of a task, TASK.jsonl, as `outbound eval --write-examples`
    writes them. Raises DataError for a file that is damaged, or that was made of other sets.
    """
    lines, ids = set(), set()
    written = {f"{task}.jsonl" for task in tasks}
    for number, line in enumerate(_lines(listed), 1):
        try:
            row = json.loads(line)
            name, at, own = str(row["set"]), int(row["line"]), row["id"]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise DataError(
                f"{listed}:{number}: is no row of `outbound corpus overlap`; make the file anew"
            ) from None
        if name not in written and not isfile(data / name):
            raise DataError(
                f"{listed}:{number}: names the set {name!r}, which is not in {data}; "
                f"run `outbound corpus overlap CORPUS --sets {data}`"
            )
        lines.add((name, at))
        ids.add((name, str(own)))
    return Overlap(frozenset(lines), frozenset(ids))


def with_short(overlap: Overlap, data: Path, documents: Iterable[Document]) -> Overlap:
    """The same with the short examples of the files that the documents come from. Raises DataError."""
    files = {document.example.file for document in documents if document.example.line}
    short = {(name, line) for name in sorted(files) for line in short_lines(data / name)}
    return Overlap(overlap.lines, overlap.ids, overlap.short | short)


def masks(task: str, documents: Sequence[Document], overlap: Overlap) -> Masks:
    """Which documents of a task are dirty and which are short."""

    def dirty(example: Example) -> bool:
        by_line = (example.file, example.line) in overlap.lines
        return by_line or (f"{task}.jsonl", example.key) in overlap.ids

    examples = [document.example for document in documents]
    return Masks(
        np.array([dirty(example) for example in examples], np.bool_),
        np.array([(example.file, example.line) in overlap.short for example in examples], np.bool_),
    )


def parts(measure: Measure, numbers: Sums, units: Sequence[str], found: Masks, seed: int) -> dict[str, Part]:
    """`clean`, `dirty`, `short` and `clean_less_all` (GPT-3, figure 4.2) of documents (documents, k).

    `clean_less_all` counts the clean documents; its interval comes from resamples of all documents.
    """
    clean = numbers * ~found.dirty[:, None]
    low, high, _ = ends(difference(measure, clean, numbers, units, seed))
    return {
        "clean": _part(measure, numbers, units, ~found.dirty, seed),
        "dirty": _part(measure, numbers, units, found.dirty, seed),
        "short": _part(measure, numbers, units, found.short, seed),
        "clean_less_all": Part(
            value=finite(value(measure, clean) - value(measure, numbers)),
            low=low,
            high=high,
            n=int((~found.dirty).sum()),
        ),
    }


def _part(measure: Measure, numbers: Sums, units: Sequence[str], chosen: Mask, seed: int) -> Part:
    some = numbers[chosen]
    own = [unit for unit, is_chosen in zip(units, chosen, strict=True) if is_chosen]
    low, high, _ = ends(interval(measure, some, own, seed))
    return Part(value=finite(value(measure, some)), low=low, high=high, n=len(some))


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:  # `splitlines` would cut at U+2028 in an id, too
            return list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); `outbound corpus overlap` writes it") from None
