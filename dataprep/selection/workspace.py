"""What the steps of a selection share: the documents of earlier increments, and the files of earlier steps.

`select -> order -> ranks -> candidates -> exact_duplicates -> shingles -> near_duplicates -> verdicts`. The
files of all but the last are temporary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.corpus.directory import Decisions, Increment
from dataprep.selection.bands import Buckets, Scheme, load
from dataprep.selection.exclude import verdicts_against
from dataprep.store.files import Output
from dataprep.store.npy import Pieces, mapped
from dataprep.store.records import Record, origin
from dataprep.store.step import Part, read_step

ENTRY = np.dtype(
    [("doc_id", "V16"), ("text_key", "V16"), ("part", "<u4"), ("row", "<u4"), ("shingles", "<u4")]
)
"""One document in the catalogue of an increment, which stands in corpus order: 44 bytes."""

PLACE_BITS = 32
"""A document's place is source << 32 | its row in the source's catalogue; places grow with time."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An increment whose documents later ones may repeat; its files, relative to its corpus at `root`."""

    root: Path
    increment: Increment
    catalogue_files: Sequence[Output]
    band_files: Sequence[Output]

    @staticmethod
    def of(root: Path, increment: Increment, verdicts: Sequence[Record]) -> Source:
        """An increment whose verdicts stand."""
        return Source(
            root=root,
            increment=increment,
            catalogue_files=[part.outputs["catalogue"] for part in verdicts],
            band_files=[output for part in verdicts for output in part.group("bands")],
        )

    def catalogue(self) -> Pieces:
        """(documents,) of ENTRY."""
        return _pieces(self.root, self.catalogue_files, ENTRY)

    def buckets(self, low: int, high: int, scheme: Scheme) -> list[Buckets]:
        """Its buckets with keys in [low, high), file by file and mapped; a key that is in several stands
        in order there."""
        return [load(self.root / output.path, scheme).within(low, high) for output in self.band_files]


def earlier_verdicts(scope: Decisions) -> dict[str, str]:
    """The verdicts on the increments before this one, as inputs. (Those of other corpora enter the build's
    name.)"""
    return {
        f"{increment.path.name}/verdicts": origin(scope.build.of(increment), "verdicts")
        for increment in _before(scope)
    }


@dataclass(frozen=True)
class Workspace:
    """One increment on its way to its verdicts."""

    scope: Decisions

    @cached_property
    def excluded(self) -> list[Source]:
        """The increments of other corpora, which are earlier than all of ours."""
        against = verdicts_against(self.scope.corpus, self.scope.build)
        return [Source.of(other.root, increment, verdicts) for other, increment, verdicts in against]

    @cached_property
    def earlier(self) -> list[Source]:
        """The sources before this increment, the earliest first: `excluded`, then those of our corpus."""
        own = [
            Source.of(self.scope.root, increment, self.scope.build.parts("verdicts", increment))
            for increment in _before(self.scope)
        ]
        return [*self.excluded, *own]

    @cached_property
    def catalogues(self) -> list[Pieces]:
        """(documents,) of ENTRY of each source, the increment itself the last."""
        return [*(source.catalogue() for source in self.earlier), self.pieces("order", "catalogue", ENTRY)]

    @cached_property
    def documents(self) -> int:
        """How many documents the increment has, once `order` is done."""
        return sum(part.entered for part in self.parts("order"))

    @cached_property
    def shingles(self) -> dict[str, Record]:
        """The parts of `shingles` by name."""
        return {part.part: part for part in self.parts("shingles")}

    def ranges(self) -> list[Part]:
        """The ranges of `order` as parts of a later step; spec: number, start and end."""
        bounds = pairwise(accumulate((part.entered for part in self.parts("order")), initial=0))
        return [
            Part(name=f"{number:05d}", size=end - start, spec={"number": number, "start": start, "end": end})
            for number, (start, end) in enumerate(bounds)
        ]

    @property
    def scheme(self) -> Scheme:
        return Scheme.of(self.scope.corpus.recipe.select.near_duplicates)

    def parts(self, step: str) -> list[Record]:
        """The parts of a finished step of this increment, in order."""
        return read_step(self.scope, step).parts

    def outputs(self, step: str, name: str) -> list[Output]:
        """The output of that name of each of them."""
        return [part.outputs[name] for part in self.parts(step)]

    def arrays(self, step: str, name: str, among: slice = slice(None)) -> list[npt.NDArray[Any]]:
        """These files, mapped; of the parts in `among` alone."""
        return [mapped(self.scope.root / output.path) for output in self.outputs(step, name)[among]]

    def pieces(self, step: str, name: str, dtype: npt.DTypeLike) -> Pieces:
        """These files as one array."""
        return _pieces(self.scope.root, self.outputs(step, name), dtype)


def _pieces(root: Path, outputs: Sequence[Output], dtype: npt.DTypeLike) -> Pieces:
    return Pieces([root / output.path for output in outputs], [output.rows for output in outputs], dtype)


def _before(scope: Decisions) -> list[Increment]:
    return [increment for increment in scope.corpus.increments() if increment.number < scope.increment.number]
