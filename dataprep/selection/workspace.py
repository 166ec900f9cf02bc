"""The way of one increment to its verdicts: what its steps read, and where they leave what the next reads.

`select parts -> order -> bands -> copies -> shingles -> compare -> verdicts`. All but the last leave their
files and records in a directory that goes when the verdicts stand. Its name holds the hash of all inputs, so
what a killed run left is gone on with only if it was made from the same facts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.corpus.directory import Build, Corpus, Increment, records_in
from dataprep.selection.bands import Buckets, Scheme, load
from dataprep.selection.exclude import verdicts_against
from dataprep.store.files import Output, publish_array
from dataprep.store.npy import mapped
from dataprep.store.records import Record

ENTRY = np.dtype(
    [("doc_id", "V16"), ("text_key", "V16"), ("part", "<u4"), ("row", "<u4"), ("shingles", "<u4")]
)
"""One document in the catalogue of an increment, which stands in corpus order: 44 bytes."""

PLACE_BITS = 32
"""A document's place is source << 32 | its row in the source's catalogue; places grow with time."""


@dataclass(frozen=True)
class Source:
    """An increment whose documents later ones may repeat; its files, relative to its corpus at `root`.

    prefix: how the paths of its files begin among the inputs of ours: another corpus's path.
    """

    root: Path
    increment: Increment
    catalogue_file: Output
    band_files: Sequence[Output]
    prefix: str = ""

    @staticmethod
    def judged(root: Path, increment: Increment, verdicts: Record, prefix: str = "") -> Source:
        """An increment whose verdicts stand."""
        _, catalogue, *bands = verdicts.outputs
        return Source(root, increment, catalogue, bands, prefix)

    def catalogue(self) -> npt.NDArray[np.void]:
        """(n,) of ENTRY, mapped."""
        return mapped(self.root / self.catalogue_file.path)

    def buckets(self, low: int, high: int, scheme: Scheme) -> list[Buckets]:
        """Its buckets with keys in [low, high), file by file and mapped; a key that is in several stands
        in order there."""
        return [load(self.root / output.path, scheme).within(low, high) for output in self.band_files]

    @property
    def inputs(self) -> dict[str, str]:
        """Its files with their hashes."""
        outputs = (self.catalogue_file, *self.band_files)
        return {self.prefix + output.path: output.xxh3_128 for output in outputs}


@dataclass(frozen=True)
class Work:
    """One increment on its way.

    earlier: the sources before it, the earliest first; of these the first `excluded` are other corpora's.
    inputs: what decides its verdicts, with hashes.
    """

    corpus: Corpus
    build: Build
    increment: Increment
    earlier: list[Source]
    excluded: int
    inputs: dict[str, str]

    @staticmethod
    def of(corpus: Corpus, build: Build, increment: Increment) -> Work:
        """The increments before it must be judged."""
        facts = increment.records("documents") + increment.records("scores")
        inputs = {output.path: output.xxh3_128 for record in facts for output in record.outputs}
        earlier = [
            Source.judged(other.root, theirs, record, f"{path}/")
            for path, other, theirs, record in verdicts_against(corpus, build)
        ]
        excluded = len(earlier)
        verdicts = {record.part: record for record in build.records("verdicts")}
        for before in corpus.increments():
            if before.number < increment.number:
                earlier.append(Source.judged(corpus.root, before, verdicts[f"{before.number:04d}"]))
        for source in earlier:
            inputs |= source.inputs
        return Work(corpus, build, increment, earlier, excluded, inputs)

    @property
    def part(self) -> str:
        """The increment's name in files of the build."""
        return f"{self.increment.number:04d}"

    @property
    def directory(self) -> Path:
        read = "\n".join(f"{path} {digest}" for path, digest in sorted(self.inputs.items()))
        name = xxhash.xxh3_128_hexdigest(read.encode())[:12]
        return self.build.path / "work" / f"{self.part}-{name}"

    @property
    def scheme(self) -> Scheme:
        return Scheme.of(self.corpus.recipe.select.near_duplicates)

    def records(self, step: str) -> list[Record]:
        """The records of a step of this increment, in order."""
        return records_in(self.directory / step)

    def made(self, *steps: str) -> dict[str, str]:
        """The outputs of some steps with their hashes."""
        return {o.path: o.xxh3_128 for step in steps for record in self.records(step) for o in record.outputs}

    def array(self, output: Output) -> npt.NDArray[Any]:
        """An output of a step, mapped."""
        return mapped(self.corpus.root / output.path)

    def publish_array(self, step: str, stem: str, array: npt.NDArray[Any]) -> Output:
        """Publish an array as an output of a step."""
        return publish_array(self.corpus.root, self.directory / step, stem, array)

    def itself(self) -> Source:
        """The increment as a source, once `bands` is done."""
        bands = [record.outputs[0] for record in self.records("bands")]
        return Source(self.corpus.root, self.increment, self.records("order")[0].outputs[0], bands)

    def clear(self) -> None:
        """Remove what the steps of this increment left, those of other inputs included."""
        work = self.directory.parent
        for directory in work.glob(f"{self.part}-*"):
            shutil.rmtree(directory)
        if work.exists() and not any(work.iterdir()):
            work.rmdir()
