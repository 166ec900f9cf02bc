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
from dataprep.pack.manifest import generations, load_manifest, origin
from dataprep.store.files import hash_file
from pipeline.errors import RunError

CHANGED = "the run's data changed: restore the shard, or pin another generation in a new run"


@dataclass(frozen=True)
class Shard:
    """One tar of token blocks."""

    path: Path
    bytes: int
    xxh3_128: str
    blocks: tuple[tuple[int, int], ...]
    """(byte offset in the tar, tokens) of each block."""


@dataclass(frozen=True)
class Split:
    """One token stream: the blocks of its shards, one after another."""

    tokens: int
    documents: int
    unigram_entropy_nats: float
    """Loss of the best model that ignores context: what training must get below."""
    shards: tuple[Shard, ...]

    def sequences(self, n_ctx: int) -> int:
        """Count whole sequences of n_ctx inputs, each with the token that follows it as its last target."""
        return max(0, (self.tokens - 1) // n_ctx)


@dataclass(frozen=True)
class Generation:
    """An immutable state of a token directory; a run pins one by its number."""

    directory: Path
    number: int
    fingerprint: str
    """xxh3_128 of generation-N.json, which holds the hash of every shard, as it was published: when documents
    are forgotten their tokens become end-of-text, and the runs that pinned it go on."""
    tokenizer_fingerprint: str
    vocab_size: int
    eot: int
    dtype: np.dtype[Any]
    splits: dict[str, Split]


def load_generation(directory: Path, number: int | None) -> Generation:
    """Read `generation-N.json`, or the newest when number is None; RunError when it is missing or broken."""
    if number is None:
        number = max(generations(directory), default=0)
        if not number:
            raise RunError(f"{directory}: no generation-N.json here; make one with `outbound pack`")
    path = directory / f"generation-{number}.json"
    if not path.exists():
        raise RunError(f"{path}: no such generation; see which ones stand in {directory}")
    try:
        body = load_manifest(path)
        return Generation(
            directory=directory,
            number=number,
            fingerprint=origin(body),
            tokenizer_fingerprint=body["tokenizer"]["fingerprint"],
            vocab_size=body["tokenizer"]["vocab_size"],
            eot=body["tokenizer"]["eot"],
            dtype=np.dtype(body["dtype"]),
            splits={name: _split(directory, split) for name, split in body["splits"].items()},
        )
    except DataError as error:
        raise RunError(str(error)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: not a generation ({error!r}): publish it again with `outbound pack`"
        ) from None


def _split(directory: Path, body: dict[str, Any]) -> Split:
    return Split(
        tokens=body["tokens"],
        documents=body["documents"],
        unigram_entropy_nats=body["unigram_entropy_nats"],
        shards=tuple(
            Shard(
                path=directory / shard["path"],
                bytes=shard["bytes"],
                xxh3_128=shard["xxh3_128"],
                blocks=tuple((offset, tokens) for offset, tokens in shard["blocks"]),
            )
            for shard in body["shards"]
        ),
    )


class TokenStream:
    """Random access to one split of a generation at the speed of memory."""

    def __init__(self, generation: Generation, split: str) -> None:
        """Check that every shard is there and has its size; RunError if not."""
        shards = generation.splits[split].shards
        for shard in shards:
            _check(shard)
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
            _check(self._shards[index])  # since the start it may have been removed or replaced
            # A plain array over the map: a slice of np.memmap itself takes ten times as long.
            self._maps[index] = np.asarray(np.memmap(self._shards[index].path, dtype=self.dtype, mode="r"))
        return self._maps[index]


def verify(shard: Shard) -> None:
    """Hash a shard; RunError when it is missing or was altered."""
    _check(shard)
    if (found := hash_file(shard.path)) != shard.xxh3_128:
        raise RunError(f"{shard.path}: hash {found}, expected {shard.xxh3_128}; {CHANGED}")


def _check(shard: Shard) -> None:
    try:
        size = shard.path.stat().st_size
    except FileNotFoundError:
        raise RunError(f"{shard.path}: missing; {CHANGED}") from None
    if size != shard.bytes:
        raise RunError(f"{shard.path}: {size} bytes, expected {shard.bytes}; {CHANGED}")
