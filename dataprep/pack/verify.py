"""`corpus verify --tokens`: the shards of every generation against their hashes, counts, and the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dataprep.corpus.directory import Corpus
from dataprep.errors import DataError
from dataprep.pack.manifest import (
    ERASED,
    REMEDY,
    Shard,
    Split,
    generations,
    identity,
    latest_generation,
    load_generation,
    read_table,
    remedy,
)
from dataprep.shards import text_shards
from dataprep.store import root_manifest
from dataprep.store.calls import ALONE, Run
from dataprep.store.files import hash_file
from dataprep.store.pool import Tick
from dataprep.tokenizer import tokenizer


def files(tokens: Path) -> int:
    """How many shards the newest generation lists, if it can be read: what `problems` ticks."""
    with suppress(DataError):
        generation = latest_generation(tokens)
        return sum(len(split.shards) for split in generation.splits.values()) if generation else 0
    return 0


def problems(corpus: Corpus, tokens: Path, run: Run = ALONE) -> Iterator[str]:
    """What is wrong with token shards, one line each.

    Each shard is checked by a call of its own. Memory of a process: the table of a shard's documents.
    """
    found = generations(tokens).values()
    if not found:
        yield f"{tokens}: no generation-N.json here; make one with `outbound pack`"
    yield from _unnamed_by_others(tokens)
    sound = True
    wrong = _wrong_shards(tokens, run)
    for path in found:
        try:
            generation = load_generation(path)
        except DataError as error:
            yield str(error)
            sound = False
            continue
        for name, split in generation.splits.items():
            for shard in split.shards:
                yield from wrong.pop(shard.tar.xxh3_128, [])
            yield from _sums(path, name, split)
    if found and sound:
        yield from _tokenizer(tokens)
        with suppress(DataError):  # of the corpus, which `audit.verify` names
            yield from _source(corpus, tokens)


def _unnamed_by_others(tokens: Path) -> Iterator[str]:
    """What is wrong with the manifest and with the files that only it names."""
    if not generations(tokens) and not (tokens / root_manifest.NAME).exists():
        return
    try:
        lost, altered = root_manifest.lost(tokens), root_manifest.altered(tokens)
    except DataError as error:
        yield str(error)
        return
    yield from (f"{tokens / name}: missing; {remedy(name)}" for name in lost)
    yield from (f"{tokens / name}: its content has changed; {remedy(name)}" for name in altered)


def _wrong_shards(tokens: Path, run: Run) -> dict[str, list[str]]:
    """What is wrong with the shards of all generations, each checked once, by the hashes of their tars."""
    shards: dict[str, Shard] = {}
    for path in generations(tokens).values():
        with suppress(DataError):  # which `problems` names
            for split in load_generation(path).splits.values():
                for shard in split.shards:
                    shards.setdefault(shard.tar.xxh3_128, shard)
    sizes = [sum(output.bytes for output in shard.files) for shard in shards.values()]
    calls = [(msgspec.to_builtins(shard),) for shard in shards.values()]
    return dict(zip(shards, run("shards", partial(_shard, tokens), calls, sizes), strict=True))


def _shard(tokens: Path, fields: dict[str, Any], tick: Tick) -> list[str]:
    tick(1)
    shard = msgspec.convert(fields, Shard)
    for output in shard.files:
        file = tokens / output.path
        if not file.is_file():
            return [f"{file}: missing; {REMEDY}"]
        if hash_file(file) != output.xxh3_128:
            return [f"{file}: its content has changed; {REMEDY}"]
    return [*_miscounts(tokens, shard)]


def _miscounts(tokens: Path, shard: Shard) -> Iterator[str]:
    if (held := int((read_table(tokens, shard)["doc_id"] != np.void(ERASED)).sum())) != shard.documents:
        yield f"{tokens / shard.table.path}: {held:,} documents, {shard.documents:,} were recorded; {REMEDY}"
    if (held := sum(length for _, length in shard.blocks)) != shard.tokens:
        counts = f"its blocks hold {held:,} tokens, {shard.tokens:,} were recorded"
        yield f"{tokens / shard.tar.path}: {counts}; {REMEDY}"


def _sums(path: Path, name: str, split: Split) -> Iterator[str]:
    for key in ("tokens", "documents"):
        held, recorded = sum(getattr(shard, key) for shard in split.shards), getattr(split, key)
        if held != recorded:
            yield f"{path}: {name} has {recorded:,} {key}, but its shards hold {held:,}; {REMEDY}"


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
        yield f"{tokens}: holds {held:,} documents, but {packed:,} samples were packed; {REMEDY}"
