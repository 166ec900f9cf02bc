"""Generations: `generation-N.json` lists every shard of a token directory as it was at one pack.

The directory's `manifest.json` names the generations, and what stands beside shards (`remember`).

One is immutable and holds its predecessor's shards; a training run pins one. Only `corpus forget` ever
changes any, all of them at once (see `erase`). This is the one description of the format, for those who write
it and for those who train on it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
from msgspec.structs import replace

from dataprep.errors import DataError
from dataprep.store import root_manifest
from dataprep.store.checksummed_json import dump, load_with_hash
from dataprep.store.files import Output, write_once
from dataprep.store.npy import loaded

FORMAT = "outbound-tokens/3"
SPLITS = ("train", "val")
DOCUMENT = np.dtype([("start", "<u8"), ("doc_id", "V16")])
"""Where a document starts, in tokens from the start of its shard. Pieces of one share its doc_id."""
ERASED = bytes(16)
"""The doc_id of what was forgotten."""
REMEDY = "restore it from a copy, or pack into another directory"


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One tar of token blocks, and the arrays beside it.

    table: the documents that start in it, in order, (documents,) of DOCUMENT. counts: how often each id is in
    it, (vocab_size,) int64, without the end-of-text of what was forgotten, which counts in no loss. blocks:
    the byte offset in the tar and the length in tokens of each.
    """

    tar: Output
    table: Output
    counts: Output
    tokens: int
    documents: int
    blocks: list[tuple[int, int]]

    @property
    def files(self) -> tuple[Output, Output, Output]:
        """All that it consists of."""
        return self.tar, self.table, self.counts


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One token stream: the blocks of its shards, one after another.

    unigram_entropy_nats: the loss of the best model that ignores context, which training must get below.
    """

    tokens: int = 0
    documents: int = 0
    unigram_entropy_nats: float = 0.0
    shards: list[Shard] = []

    def sequences(self, n_ctx: int) -> int:
        """Count whole sequences of n_ctx inputs, each with the token that follows it as its last target."""
        return max(0, (self.tokens - 1) // n_ctx)


class TokenizerIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What tells a tokenizer from any other's, and what training must know of it."""

    fingerprint: str
    vocab_size: int
    eot: int


class Generation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A state of a token directory.

    increments: `identity` of the text shards of each, by number. origin: the hash of the file as it was first
    published, by which the runs that pinned it know it: forgetting changes the file, and they go on.
    """

    format: str
    number: int
    build: str
    tokenizer: TokenizerIdentity
    dtype: str
    block_tokens: int
    held_out: float
    increments: dict[str, str]
    splits: dict[str, Split]
    origin: str = ""


def generation_path(tokens: Path, number: int) -> Path:
    """Where a generation stands."""
    return tokens / f"generation-{number}.json"


def generations(tokens: Path) -> dict[int, Path]:
    """The generations of a token directory by number, the newest last."""
    numbers = {path: path.stem.removeprefix("generation-") for path in tokens.glob("generation-*.json")}
    return dict(sorted((int(number), path) for path, number in numbers.items() if number.isdecimal()))


def load_generation(path: Path) -> Generation:
    """Read a generation; raises DataError when it is damaged or of another format."""
    body, digest = load_with_hash(path, dict[str, Any], REMEDY)
    if body.get("format") != FORMAT:
        raise DataError(f"{path}: format {body.get('format')!r}, not {FORMAT!r}; pack into another directory")
    try:
        generation = msgspec.convert(body, Generation)
        for split in generation.splits.values():
            for shard in split.shards:
                for output in shard.files:
                    plain(output.path)
    except (ValueError, msgspec.ValidationError) as error:
        raise DataError(f"{path}: is damaged ({error}); {REMEDY}") from None
    return replace(generation, origin=generation.origin or digest)


def plain(name: str) -> str:
    """The name of a file beside its manifest. Raises ValueError for any other.

    One from a stranger could lead out of the directory, or end up in a shell (`data.stream`).
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"{name!r} is no name of a file in this directory")
    return name


def remember(tokens: Path) -> None:
    """Name in the manifest what stands and no generation names; raises DataError without a manifest."""
    plain = (path for pattern in ("funnel-*.json", "tokenizer/[!.]*") for path in tokens.glob(pattern))
    root_manifest.remember(tokens, tokens.glob("generation-*.json"), plain)


def accept(tokens: Path) -> list[str]:
    """Let the manifest name the files that are there, as they are; returns what is given up (`reset`).

    Raises DataError when no generation stands.
    """
    if not generations(tokens):
        raise DataError(f"{tokens}: no generation-N.json here; make one with `outbound pack`")
    gone = root_manifest.reset(tokens)
    remember(tokens)
    return gone


def refuse_losses(tokens: Path) -> None:
    """Raise DataError when a file is missing that the manifest names."""
    root_manifest.refuse_losses(tokens, remedy)


def remedy(name: str) -> str:
    """What to do about a missing or damaged file of a token directory, in words for a person."""
    if name.startswith("tokenizer/"):
        return "restore it from the tokenizer that packed"
    return REMEDY


def latest_generation(tokens: Path) -> Generation | None:
    """The newest generation, or None."""
    found = generations(tokens)
    return load_generation(found[max(found)]) if found else None


def identity(tars: list[Output]) -> str:
    """What tells the texts of one increment from any other's: the hash of their tars' hashes."""
    return xxhash.xxh3_128_hexdigest("".join(tar.xxh3_128 for tar in tars).encode())


def publish(tokens: Path, generation: Generation) -> Generation:
    """Write a new generation; returns it with its origin. Raises DataError when another one stands there."""
    path = generation_path(tokens, generation.number)
    write_once(path, dump(generation))
    published = load_generation(path)
    if replace(generation, origin=published.origin) != published:
        refuse_published(tokens, generation)
    return published


def refuse_published(tokens: Path, generation: Generation) -> None:
    """Raise DataError when another process has published a generation of that number."""
    path = generation_path(tokens, generation.number)
    if path.exists():
        raise DataError(f"{path}: another pack published it meanwhile; run this one again")


def split_of(tokens: Path, shards: list[Shard], vocab_size: int) -> Split:
    """A split of these shards, with its sums."""
    counts = np.zeros(vocab_size, np.int64)
    for shard in shards:
        counts += read_counts(tokens, shard)
    return Split(
        tokens=sum(shard.tokens for shard in shards),
        documents=sum(shard.documents for shard in shards),
        unigram_entropy_nats=entropy(counts),
        shards=shards,
    )


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Entropy in nats of frequencies: the loss of a model that knows nothing but them.

    >>> round(float(entropy(np.array([1, 1, 0, 2])) / np.log(2)), 3)
    1.5
    """
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())


def read_counts(tokens: Path, shard: Shard) -> npt.NDArray[np.int64]:
    """How often each id stands in a shard, (vocab_size,) int64."""
    return loaded(tokens / shard.counts.path)


def read_table(tokens: Path, shard: Shard, mapped: bool = False) -> npt.NDArray[np.void]:
    """The documents that start in a shard, in order, (documents,) DOCUMENT."""
    return loaded(tokens / shard.table.path, "r" if mapped else None)


def unnamed(tokens: Path) -> list[Path]:
    """Files of shards that no generation names: what killed packs and erased documents left."""
    named = {
        output.path
        for path in generations(tokens).values()
        for split in load_generation(path).splits.values()
        for shard in split.shards
        for output in shard.files
    }
    files = (path for split in SPLITS for path in tokens.glob(f"{split}-*"))
    return sorted([*(path for path in files if path.name not in named), *tokens.rglob(".*.part")])
