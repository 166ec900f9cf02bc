"""`corpus verify --tokens`: the shards of every generation against their hashes, counts, and the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack.manifest import ERASED, generations, identity, latest_generation, load_manifest
from dataprep.shards import text_shards
from dataprep.store.files import hash_file
from dataprep.store.npy import loaded
from dataprep.tokenizer import tokenizer


def files(tokens: Path) -> int:
    """How many shards the newest generation lists: what `problems` ticks."""
    manifest = latest_generation(tokens) or {"splits": {}}
    return sum(len(split["shards"]) for split in manifest["splits"].values())


def problems(corpus: Corpus, tokens: Path, tick: Callable[[int], None]) -> Iterator[str]:
    """What is wrong with token shards, one line each; `tick` is told of shards."""
    found = generations(tokens).values()
    if not found:
        yield f"{tokens}: no generation-N.json here; make one with `outbound pack`"
    checked: set[str] = set()
    for path in found:
        try:
            manifest = load_manifest(path)
        except DataError as error:
            yield str(error)
            return
        for name, split in manifest["splits"].items():
            for shard in split["shards"]:
                if shard["xxh3_128"] not in checked:
                    checked.add(shard["xxh3_128"])
                    tick(1)
                    yield from _shard(tokens, shard)
            yield from _sums(path, name, split)
    if found:
        yield from _tokenizer(tokens)
        yield from _source(corpus, tokens)


def _shard(tokens: Path, shard: dict[str, Any]) -> Iterator[str]:
    files = {name: tokens / shard[f"{name}path"] for name in ("", "documents_", "counts_")}
    for name, file in files.items():
        if not file.is_file():
            yield f"{file}: missing"
            return
        if hash_file(file) != shard[f"{name}xxh3_128"]:
            yield f"{file}: its content has changed"
            return
    path, table, _ = files.values()
    if (held := int((loaded(table)["doc_id"] != np.void(ERASED)).sum())) != shard["documents"]:
        yield f"{table}: {held:,} documents, {shard['documents']:,} were recorded"
    if (held := sum(length for _, length in shard["blocks"])) != shard["tokens"]:
        yield f"{path}: its blocks hold {held:,} tokens, {shard['tokens']:,} were recorded"


def _sums(path: Path, name: str, split: dict[str, Any]) -> Iterator[str]:
    for key in ("tokens", "documents"):
        if (held := sum(shard[key] for shard in split["shards"])) != split[key]:
            yield f"{path}: {name} has {split[key]:,} {key}, but its shards hold {held:,}"


def _tokenizer(tokens: Path) -> Iterator[str]:
    """The tokenizer beside the shards is the one that made their ids."""
    manifest = latest_generation(tokens)
    try:
        if (
            manifest
            and tokenizer.load(tokens / "tokenizer").fingerprint != manifest["tokenizer"]["fingerprint"]
        ):
            yield f"{tokens / 'tokenizer'}: its content has changed; restore it from the one that packed"
    except DataError as error:
        yield str(error)


def _source(corpus: Corpus, tokens: Path) -> Iterator[str]:
    """The newest generation was packed from text that the corpus still has, and from all of it."""
    manifest = latest_generation(tokens)
    if manifest is None or not (corpus.root / "builds" / manifest["build"]).is_dir():
        return  # a build that is gone (`gc --builds current`) cannot be compared
    build = corpus.named_build(manifest["build"])
    packed = 0
    for increment in corpus.increments():
        name = f"{increment.number:04d}"
        if name not in manifest["increments"]:
            continue
        outputs = text_shards.outputs(build, increment)
        packed += sum(output.rows for output in outputs)
        if identity(outputs) != manifest["increments"][name]:
            yield (
                f"{tokens}: increment {name} was packed from other text than {build.path} holds; if it was "
                f"forgotten there, run `outbound corpus forget {corpus.root} --tokens {tokens}`"
            )
    held = sum(split["documents"] for split in manifest["splits"].values())
    if held != packed:
        yield f"{tokens}: holds {held:,} documents, but {packed:,} samples were packed"
