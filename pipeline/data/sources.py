"""What a run reads: one directory of token shards, or several in fixed shares (GPT-3's table 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.pack.manifest import Shard
from pipeline.data.counted import counted
from pipeline.data.mixture import Mixture, quantised
from pipeline.data.order import Order
from pipeline.data.streaming import Streamed, expand
from pipeline.data.token_stream import PinnedGeneration, TokenStream, load_generation
from pipeline.errors import RunError


@dataclass(frozen=True)
class TokenSource:
    """A pinned generation and its share of the samples."""

    generation: PinnedGeneration
    part: int
    """Share in 4096ths."""


@dataclass(frozen=True)
class Sources:
    """All that a run reads, by name and in the order of the names; a run without a mixture has one, ""."""

    by_name: Mapping[str, TokenSource]
    stream: tuple[Streamed, ...] = ()
    """Locations of the training shards of the one source, when they are streamed and not mapped."""

    @staticmethod
    def load(wanted: Mapping[str, tuple[Path, int | None, float]], stream: str | None = None) -> Sources:
        """Open (directory, generation or the newest, weight) by name; `stream` is data.stream.

        Raises RunError when one cannot be read or they were packed with several tokenizers.
        """
        names = sorted(wanted)
        parts = quantised([wanted[name][2] for name in names])
        found = {
            name: TokenSource(load_generation(wanted[name][0], wanted[name][1]), part)
            for name, part in zip(names, parts, strict=True)
        }
        first, *others = [source.generation for source in found.values()]
        for other in others:
            if other.content.tokenizer != first.content.tokenizer:
                raise RunError(
                    f"{other.directory}: packed with another tokenizer than {first.directory}: "
                    "sources of one mixture share a tokenizer; pack one of them again"
                )
        return Sources(found, expand(stream, first) if stream else ())

    @property
    def generations(self) -> list[PinnedGeneration]:
        """In the order of the names."""
        return [source.generation for source in self.by_name.values()]

    @property
    def mapped(self) -> list[tuple[PinnedGeneration, Shard]]:
        """The shards that are read from disk: of a stream, the held-out ones alone."""
        splits = ("val",) if self.stream else ("train", "val")
        return [
            (generation, shard)
            for generation in self.generations
            for split in splits
            for shard in generation.splits[split].shards
        ]

    @property
    def mixture(self) -> Mixture:
        """The schedule of the sources, in the order of the names."""
        return Mixture(tuple(source.part for source in self.by_name.values()))

    @property
    def fingerprint(self) -> str:
        """Of the content of all shards and of the shares; of one source alone, its generation's.

        A stream's order is that of its shards, which enters.
        """
        if self.stream:
            names = "".join(f"{shard.tar.path}\n" for _, shard in self.stream)
            return xxhash.xxh3_128_hexdigest(f"{self.generations[0].fingerprint}\n{names}".encode())
        if list(self.by_name) == [""]:
            return self.by_name[""].generation.fingerprint
        lines = [f"{name} {each.part} {each.generation.fingerprint}\n" for name, each in self.by_name.items()]
        return xxhash.xxh3_128_hexdigest("".join(lines).encode())

    @property
    def pins(self) -> dict[str, int]:
        """Name -> number of the generation."""
        return {name: source.generation.number for name, source in self.by_name.items()}

    @property
    def tokenizer_fingerprint(self) -> str:
        """The same for all."""
        return self.generations[0].content.tokenizer.fingerprint

    @property
    def vocab_size(self) -> int:
        """The same for all."""
        return self.generations[0].content.tokenizer.vocab_size

    @property
    def eot(self) -> int:
        """The id of end-of-text, the same for all."""
        return self.generations[0].content.tokenizer.eot

    @property
    def tokenizer(self) -> Path:
        """Where a copy of the tokenizer lies."""
        return self.generations[0].directory / "tokenizer"

    @property
    def unigram_entropy_nats(self) -> float | None:
        """Of the training split; unknown of a mixture."""
        one = self.generations[0]
        return one.splits["train"].unigram_entropy_nats if len(self.by_name) == 1 else None


@dataclass(frozen=True)
class Samples:
    """Sample k of a run as tokens: a function of (seed, generations, mixture, k) and of nothing else."""

    mixture: Mixture
    streams: list[TokenStream]
    orders: list[Order]
    n_ctx: int

    @staticmethod
    def of(sources: Sources, n_ctx: int, seed: int, block: int) -> Samples:
        """Map the training splits; each source of a mixture is shuffled with a key of its own."""
        orders = [
            Order(
                sequences=source.generation.splits["train"].sequences(n_ctx),
                block=block,
                seed=xxhash.xxh3_64_intdigest(name.encode(), seed=seed) if name else seed,
                generation=source.generation.number,
            )
            for name, source in sources.by_name.items()
        ]
        streams = [TokenStream(generation, "train") for generation in sources.generations]
        return Samples(sources.mixture, streams, orders, n_ctx)

    def __call__(self, sample: int) -> npt.NDArray[Any]:
        """(n_ctx + 1,) tokens of a sample: the inputs and the last target."""
        one: npt.NDArray[Any] = self.rows(np.array([sample]))[0]
        return one

    def rows(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """(samples, n_ctx + 1) tokens of many samples."""
        if len(self.streams) == 1:
            return self._of(0, samples)
        sources, indices = self.mixture.sources(samples)
        rows = np.empty((len(samples), self.n_ctx + 1), self.streams[0].dtype)
        for source in set(sources.tolist()):
            mine = sources == source
            rows[mine] = self._of(source, indices[mine])
        return rows

    def places(self, samples: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64]]:
        """Where samples begin: (n,) the source of each, and (n,) tokens from the start of its stream."""
        sources, indices = self.mixture.sources(samples)
        starts = np.empty(len(samples), np.int64)
        for source in set(sources.tolist()):
            mine = sources == source
            starts[mine] = self.orders[source].many(indices[mine]) * self.n_ctx
        return sources, starts

    def _of(self, source: int, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        starts = self.orders[source].many(indices) * self.n_ctx
        return self.streams[source].rows(starts, self.n_ctx + 1)


@dataclass(frozen=True)
class HeldOut:
    """Fixed held-out sequences: of each source its share, spread evenly over its split."""

    places: list[tuple[TokenStream, int]]
    n_ctx: int
    eot: int

    @staticmethod
    def of(sources: Sources, n_ctx: int, sequences: int) -> HeldOut:
        """Choose so many sequences in all."""
        places = []
        counts = sources.mixture.counts(sequences)
        for generation, count in zip(sources.generations, counts, strict=True):
            stream = TokenStream(generation, "val")
            held = generation.splits["val"].sequences(n_ctx)
            places += [(stream, index * held // count * n_ctx) for index in range(count)]
        return HeldOut(places, n_ctx, sources.eot)

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def counted(self) -> int:
        """How many positions count in the loss over all of them."""
        return sum(int(np.count_nonzero(counted(self(index)[None], self.eot))) for index in range(len(self)))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of their tokens. Losses with different ones are losses on different sets: forgetting documents
        changes it."""
        tokens = xxhash.xxh3_64()
        for index in range(len(self)):
            tokens.update(self(index).astype("<u4").tobytes())
        return tokens.hexdigest()

    def __call__(self, index: int) -> npt.NDArray[Any]:
        """(n_ctx + 1,) tokens of one of them."""
        stream, start = self.places[index]
        return stream.slice(start, self.n_ctx + 1)
