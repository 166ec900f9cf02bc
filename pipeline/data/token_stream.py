"""The token stream of one pinned generation, mapped from its shards: nothing is read before it is asked for.

A shard is an uncompressed tar of blocks, each some thousand little-endian tokens. `generation-N.json` lists
shards, their hashes and the byte offset of each block, so a position in the stream is found without opening
a tar.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dataprep.errors import DataError
from dataprep.pack import manifest
from dataprep.pack.manifest import Generation, Shard, Split, generation_path, generations
from dataprep.store.files import hash_file
from pipeline.errors import RunError

CHANGED = "the run's data changed: restore the shard, or pin another generation in a new run"


@dataclass(frozen=True)
class PinnedGeneration:
    """A generation of a directory of token shards, as a run reads it."""

    directory: Path
    content: Generation

    @property
    def number(self) -> int:
        """The number by which a run pins it."""
        return self.content.number

    @property
    def fingerprint(self) -> str:
        """Hash of generation-N.json, which holds the hash of every shard, as it was first published: when
        documents are forgotten their tokens become end-of-text, and the runs that pinned it go on."""
        return self.content.origin

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a token in the shards."""
        return np.dtype(self.content.dtype)

    @property
    def vocab_size(self) -> int:
        """All ids are below it."""
        return self.content.tokenizer.vocab_size

    @property
    def splits(self) -> dict[str, Split]:
        """The token streams."""
        return self.content.splits

    def path(self, shard: Shard) -> Path:
        """Where a shard stands."""
        return self.directory / shard.tar.path


def load_generation(directory: Path, number: int | None) -> PinnedGeneration:
    """Read `generation-N.json`, or the newest when number is None; RunError when it is missing or broken."""
    if number is None:
        number = max(generations(directory), default=0)
        if not number:
            raise RunError(f"{directory}: no generation-N.json here; make one with `outbound pack`")
    path = generation_path(directory, number)
    if not path.exists():
        raise RunError(f"{path}: no such generation; see which ones stand in {directory}")
    try:
        return PinnedGeneration(directory, manifest.load_generation(path))
    except DataError as error:
        raise RunError(str(error)) from None


class TokenStream:
    """Random access to one split of a generation at the speed of memory."""

    def __init__(self, generation: PinnedGeneration, split: str) -> None:
        """Check that every shard is there and has its size; RunError if not."""
        shards = generation.splits[split].shards
        for shard in shards:
            check_size(generation, shard)
        self._generation = generation
        self.tokens = generation.splits[split].tokens
        self.dtype = generation.dtype
        self._shards = shards
        self._maps: dict[int, npt.NDArray[Any]] = {}
        blocks = [(index, *block) for index, shard in enumerate(shards) for block in shard.blocks]
        table = np.array(blocks, dtype=np.int64).reshape(-1, 3)
        self._shard_of, offsets, sizes = table.T
        self._ends = np.cumsum(sizes)
        # From a place in the stream to one in its shard, in tokens: a tar's members begin at 512s of bytes.
        self._shift_of = offsets // self.dtype.itemsize - (self._ends - sizes)
        held = int(self._ends[-1]) if len(self._ends) else 0
        if held != self.tokens:
            raise RunError(
                f"{generation.directory}: generation {generation.number} says that {split!r} has "
                f"{self.tokens} tokens, its blocks hold {held}: publish it again with `outbound pack`"
            )

    def slice(self, start: int, length: int) -> npt.NDArray[Any]:
        """Return tokens [start, start + length) of the stream, across blocks and shards: a new 1-d array.

        Raises RunError when the stream does not reach that far.
        """
        one: npt.NDArray[Any] = self.rows(np.array([start]), length)[0]
        return one

    def rows(self, starts: npt.NDArray[np.int64], length: int) -> npt.NDArray[Any]:
        """(starts, length) tokens: those that follow each of some places of the stream.

        Raises RunError when the stream does not reach that far.
        """
        first, last = int(starts.min()), int(starts.max())
        if first < 0 or last + length > self.tokens:
            raise RunError(f"tokens {first} to {last + length} are outside a stream of {self.tokens}")
        rows = np.empty((len(starts), length), self.dtype)
        blocks = np.searchsorted(self._ends, starts, side="right")
        shards, begins = self._shard_of[blocks], starts + self._shift_of[blocks]
        within = starts + length <= self._ends[blocks]
        for shard in set(shards[within].tolist()):
            here = np.flatnonzero(within & (shards == shard))
            rows[here] = self._windows(shard, length)[begins[here]]  # all at once: a loop takes twice as long
        for row in np.flatnonzero(~within).tolist():
            rows[row] = self._over_ends(int(starts[row]), length)
        if rows.size and int(rows.max()) >= self._generation.vocab_size:
            row, column = np.argwhere(rows >= self._generation.vocab_size)[0].tolist()
            block = int(np.searchsorted(self._ends, starts[row] + column, side="right"))
            shard = self._shards[self._shard_of[block]]
            refuse_strange(rows, self._generation, self._generation.path(shard))
        return rows

    def _windows(self, shard: int, length: int) -> npt.NDArray[Any]:
        """(places of a shard, length): what follows each of them, without a copy."""
        tokens = self._map(shard)
        return np.ndarray(
            (len(tokens) - length + 1, length), tokens.dtype, tokens, strides=tokens.strides * 2
        )

    def _over_ends(self, start: int, length: int) -> npt.NDArray[Any]:
        """(length,) tokens, of several blocks when the first ends before."""
        block = int(np.searchsorted(self._ends, start, side="right"))
        taken = min(length, int(self._ends[block]) - start)
        begin = start + int(self._shift_of[block])
        piece = self._map(int(self._shard_of[block]))[begin : begin + taken]
        if taken == length:
            return piece
        return np.concatenate([piece, self._over_ends(start + taken, length - taken)])

    def _map(self, index: int) -> npt.NDArray[Any]:
        if index not in self._maps:
            check_size(self._generation, self._shards[index])  # since the start it may have been replaced
            path = self._generation.path(self._shards[index])
            # A plain array over the map: a slice of np.memmap itself takes ten times as long.
            self._maps[index] = np.asarray(np.memmap(path, dtype=self.dtype, mode="r"))
        return self._maps[index]


def refuse_strange(tokens: npt.NDArray[Any], generation: PinnedGeneration, shard: object) -> None:
    """Raise RunError, which names the shard, when tokens have an id that the tokenizer does not have."""
    if tokens.size and (largest := int(tokens.max())) >= generation.vocab_size:
        raise RunError(
            f"{shard}: holds the id {largest}, and those of its tokenizer are below {generation.vocab_size}: "
            f"it was packed with another tokenizer, or is damaged; {CHANGED}"
        )


def verify(generation: PinnedGeneration, shard: Shard) -> None:
    """Hash a shard; RunError when it is missing or was altered."""
    check_size(generation, shard)
    path = generation.path(shard)
    if (found := hash_file(path)) != shard.tar.xxh3_128:
        raise RunError(f"{path}: hash {found}, expected {shard.tar.xxh3_128}; {CHANGED}")


def check_size(generation: PinnedGeneration, shard: Shard) -> None:
    """Raise RunError when a shard is missing, or has another size than it was published with."""
    path = generation.path(shard)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise RunError(f"{path}: missing; {CHANGED}") from None
    if size != shard.tar.bytes:
        raise RunError(f"{path}: {size} bytes, expected {shard.tar.bytes}; {CHANGED}")
