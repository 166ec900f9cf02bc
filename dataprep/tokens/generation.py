"""Generations: `generation-N.json` lists every shard of a token directory as it was at one pack.

One is immutable and holds its predecessor's shards; a training run pins one. Only `corpus forget` ever
changes any, all of them at once (see `erase`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.errors import DataError
from dataprep.seal import sealed, unsealed
from dataprep.store import Output, write_once

FORMAT = "outbound-tokens/2"
SPLITS = ("train", "val")
FILES = ("path", "documents_path", "counts_path")
"""Where a manifest names the files of a shard."""
DOCUMENT = np.dtype([("start", "<u8"), ("doc_id", "V16")])
"""Where a document starts, in tokens from the start of its shard. Pieces of one share its doc_id."""
ERASED = bytes(16)
"""The doc_id of what was forgotten."""

Manifest = dict[str, Any]
REMEDY = "restore it from a copy, or, if it is the newest, remove it and pack again"


def generations(tokens: Path) -> dict[int, Path]:
    """The manifests of a token directory by number, the newest last."""
    numbers = {path: path.stem.removeprefix("generation-") for path in tokens.glob("generation-*.json")}
    return dict(sorted((int(number), path) for path, number in numbers.items() if number.isdecimal()))


def load_manifest(path: Path) -> Manifest:
    """Read a manifest; raises DataError when it is damaged or of another format."""
    manifest: Manifest = unsealed(path, dict[str, Any], REMEDY)
    if manifest.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {manifest.get('format')!r}, not {FORMAT!r}; pack into another directory"
        )
    try:
        for split in manifest["splits"].values():
            for shard in split["shards"]:
                for key in shard.keys() & set(FILES):
                    plain(shard[key])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged ({error!r}); {REMEDY}") from None
    return manifest


def plain(name: str) -> str:
    """The name of a file beside its manifest. Raises ValueError for any other.

    One from a stranger could lead out of the directory, or end up in a shell (`data.stream`).
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"{name!r} is no name of a file in this directory")
    return name


def latest_generation(tokens: Path) -> Manifest | None:
    """The manifest of the newest generation, or None."""
    found = generations(tokens)
    return load_manifest(found[max(found)]) if found else None


def identity(tars: list[Output]) -> str:
    """What tells the texts of one increment from any other's: the hash of their tars' hashes."""
    return xxhash.xxh3_128_hexdigest("".join(tar.xxh3_128 for tar in tars).encode())


def publish(tokens: Path, manifest: Manifest) -> None:
    """Write a new generation. Raises DataError when another process was first."""
    path = tokens / f"generation-{manifest['generation']}.json"
    if not write_once(path, dump(manifest)):
        raise DataError(f"{path}: another pack published it meanwhile; run this one again")


def dump(manifest: Manifest) -> bytes:
    """The bytes of a manifest."""
    return sealed(manifest)


def origin(manifest: Manifest) -> str:
    """xxh3_128 of a generation as it was first published: what the runs that pinned it know it by."""
    return manifest.get("origin") or xxhash.xxh3_128_hexdigest(dump(manifest))


def add_up(tokens: Path, manifest: Manifest) -> None:
    """Set the sums of each split from its shards."""
    for split in manifest["splits"].values():
        split["tokens"] = sum(shard["tokens"] for shard in split["shards"])
        split["documents"] = sum(shard["documents"] for shard in split["shards"])
        counts = np.zeros(manifest["tokenizer"]["vocab_size"], np.int64)
        for shard in split["shards"]:
            counts += read_counts(tokens, shard)
        split["unigram_entropy_nats"] = entropy(counts)


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Entropy in nats of frequencies: the loss of a model that knows nothing but them.

    >>> round(entropy(np.array([5, 0, 5])), 4)  # one of two, ln 2
    0.6931
    """
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())


def read_counts(tokens: Path, shard: dict[str, Any]) -> npt.NDArray[np.int64]:
    """How often each id stands in a shard, (vocab_size,) int64."""
    counts: npt.NDArray[np.int64] = _load(tokens / shard["counts_path"], None)
    return counts


def read_table(tokens: Path, shard: dict[str, Any], mapped: bool = False) -> npt.NDArray[np.void]:
    """The documents that start in a shard, in order, (documents,) DOCUMENT."""
    return _load(tokens / shard["documents_path"], "r" if mapped else None)


def entry(
    tar: Output, documents_table: Output, counts: Output, tokens: int, documents: int, blocks: list[list[int]]
) -> dict[str, Any]:
    """A shard as generations list it; a block is its byte offset in the tar and its length in tokens."""
    return {
        "path": tar.path,
        "bytes": tar.bytes,
        "xxh3_128": tar.xxh3_128,
        "tokens": tokens,
        "documents": documents,
        "blocks": blocks,
        "documents_path": documents_table.path,
        "documents_xxh3_128": documents_table.xxh3_128,
        "counts_path": counts.path,
        "counts_xxh3_128": counts.xxh3_128,
    }


def unnamed(tokens: Path) -> list[Path]:
    """Files of shards that no generation names: what killed packs and erased documents left."""
    named = {
        shard[key]
        for path in generations(tokens).values()
        for split in load_manifest(path)["splits"].values()
        for shard in split["shards"]
        for key in FILES
    }
    files = (path for split in SPLITS for path in tokens.glob(f"{split}-*"))
    return sorted([*(path for path in files if path.name not in named), *tokens.rglob(".*.part")])


def _load(path: Path, mode: Any) -> npt.NDArray[Any]:
    try:
        loaded: npt.NDArray[Any] = np.load(path, mode, allow_pickle=False)
        return loaded
    except (ValueError, EOFError, FileNotFoundError) as error:
        raise DataError(f"{path}: cannot be read ({error}); restore it from a copy, or pack again") from None
