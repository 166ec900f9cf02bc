"""`corpus verify --tokens`: the shards of every generation against their hashes, counts, and the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack.manifest import (
    ERASED,
    Shard,
    Split,
    generations,
    identity,
    latest_generation,
    load_generation,
    read_table,
)
from dataprep.shards import text_shards
from dataprep.store.files import hash_file
from dataprep.store.pool import Tick
from dataprep.tokenizer import tokenizer


def files(tokens: Path) -> int:
    """How many shards the newest generation lists: what `problems` ticks."""
    generation = latest_generation(tokens)
    return sum(len(split.shards) for split in generation.splits.values()) if generation else 0


def problems(corpus: Corpus, tokens: Path, tick: Tick) -> Iterator[str]:
    """What is wrong with token shards, one line each; `tick` counts shards."""
    found = generations(tokens).values()
    if not found:
        yield f"{tokens}: no generation-N.json here; make one with `outbound pack`"
    checked: set[str] = set()
    for path in found:
        try:
            generation = load_generation(path)
        except DataError as error:
            yield str(error)
            return
        for name, split in generation.splits.items():
            for shard in split.shards:
                if shard.tar.xxh3_128 not in checked:
                    checked.add(shard.tar.xxh3_128)
                    tick(1)
                    yield from _shard(tokens, shard)
            yield from _sums(path, name, split)
    if found:
        yield from _tokenizer(tokens)
        yield from _source(corpus, tokens)


def _shard(tokens: Path, shard: Shard) -> Iterator[str]:
    for output in shard.files:
        file = tokens / output.path
        if not file.is_file():
            yield f"{file}: missing"
            return
        if hash_file(file) != output.xxh3_128:
            yield f"{file}: its content has changed"
            return
    if (held := int((read_table(tokens, shard)["doc_id"] != np.void(ERASED)).sum())) != shard.documents:
        yield f"{tokens / shard.table.path}: {held:,} documents, {shard.documents:,} were recorded"
    if (held := sum(length for _, length in shard.blocks)) != shard.tokens:
        yield f"{tokens / shard.tar.path}: its blocks hold {held:,} tokens, {shard.tokens:,} were recorded"


def _sums(path: Path, name: str, split: Split) -> Iterator[str]:
    for key in ("tokens", "documents"):
        held, recorded = sum(getattr(shard, key) for shard in split.shards), getattr(split, key)
        if held != recorded:
            yield f"{path}: {name} has {recorded:,} {key}, but its shards hold {held:,}"


def _tokenizer(tokens: Path) -> Iterator[str]:
    """The tokenizer beside the shards is the one that made their ids."""
    generation = latest_generation(tokens)
    try:
        if (
            generation
            and tokenizer.load(tokens / "tokenizer").fingerprint != generation.tokenizer.fingerprint
        ):
            yield f"{tokens / 'tokenizer'}: its content has changed; restore it from the one that packed"
    except DataError as error:
        yield str(error)


def _source(corpus: Corpus, tokens: Path) -> Iterator[str]:
    """The newest generation was packed from text that the corpus still has, and from all of it."""
    generation = latest_generation(tokens)
    if generation is None or not (corpus.root / "builds" / generation.build).is_dir():
        return  # a build that is gone (`gc --builds current`) cannot be compared
    build = corpus.named_build(generation.build)
    packed = 0
    for increment in corpus.increments():
        if increment.key not in generation.increments:
            continue
        outputs = text_shards.outputs(build, increment)
        packed += sum(output.rows for output in outputs)
        if identity(outputs) != generation.increments[increment.key]:
            yield (
                f"{tokens}: increment {increment.key} was packed from other text than {build.path} holds; if "
                f"it was forgotten there, run `outbound corpus forget {corpus.root} --tokens {tokens}`"
            )
    held = sum(split.documents for split in generation.splits.values())
    if held != packed:
        yield f"{tokens}: holds {held:,} documents, but {packed:,} samples were packed"
