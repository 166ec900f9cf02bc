"""`corpus forget --tokens`: erase from token shards what their corpus has forgotten.

The tokens of a forgotten document become end-of-text, so every other token keeps its place. Each touched
shard is written anew beside the old one. Then every generation is replaced to name the new one, and what none
names is removed. Killed at any moment, the same call finishes it. All tombstones are applied, so it may be
done at any time, and again.

A generation keeps its `origin`, the hash of what was first published: the runs that pinned it go on by that.
The caller has the directory for itself (`requests.alone`). Memory: 80 bytes a document, and a block.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from dataprep.corpus import tombstones
from dataprep.corpus.directory import JOBS, Corpus
from dataprep.errors import DataError
from dataprep.pack import manifest
from dataprep.pack.manifest import ERASED, Generation, Shard, identity, latest_generation, load_generation
from dataprep.pack.merge import publish_shard
from dataprep.shards import text_shards
from dataprep.store import files
from dataprep.store.checksummed_json import dump
from dataprep.store.files import attempt_path, read_table

Range = tuple[int, int]


def forget(corpus: Corpus, tokens: Path) -> int:
    """Forget in token shards what the corpus has forgotten; returns how many samples went now.

    Raises DataError for token shards that are not the corpus's.
    """
    generation = _packed_from(corpus, tokens)
    manifest.refuse_losses(tokens)
    build = corpus.named_build(generation.build)
    sources = {
        increment.key: identity(text_shards.outputs(build, increment))
        for increment in corpus.increments()
        if text_shards.complete(build, increment)  # the build may be gone since
    }
    return erase(tokens, tombstones.documents(corpus.root), sources)


def count(corpus: Corpus, tokens: Path, doc_ids: AbstractSet[bytes]) -> int:
    """How many samples of token shards come from some documents; raises DataError as `forget` does."""
    _packed_from(corpus, tokens)
    standing = [load_generation(path) for path in manifest.generations(tokens).values()]
    return sum(len(documents) for _, _, documents, _ in _touched(tokens, standing, doc_ids))


def _packed_from(corpus: Corpus, tokens: Path) -> Generation:
    """The newest generation of a directory of token shards.

    Raises DataError unless there is one and all its documents are the corpus's; a forgotten one keeps its
    doc_id.
    """
    generation = latest_generation(tokens)
    if generation is None:
        raise DataError(f"{tokens}: no generation-N.json here; make one with `outbound pack`")
    tables = [
        read_table(corpus.root, increment.outputs("extract", "documents"), ["doc_id"])
        for increment in corpus.increments()
    ]
    known = np.array([ERASED, *(key for table in tables for key in table["doc_id"].to_pylist())], "S16")
    for split in generation.splits.values():
        for shard in split.shards:
            ids = np.ascontiguousarray(manifest.read_table(tokens, shard)["doc_id"]).view("S16")
            if not np.isin(ids, known).all():
                path = tokens / shard.table.path
                raise DataError(
                    f"{path}: names a document that {corpus.root} does not hold: was it packed from another "
                    "corpus, or is it damaged? `outbound corpus verify --tokens` says it"
                )
    return generation


def erase(tokens: Path, doc_ids: AbstractSet[bytes], sources: Mapping[str, str]) -> int:
    """Erase documents from all generations of a token directory; returns how many of its samples they were.

    sources: increment to `manifest.identity` of its text shards as they are now, where they changed.
    """
    standing = {path: load_generation(path) for path in manifest.generations(tokens).values()}
    rewritten: dict[str, Shard] = {}
    erased = 0
    for generation, shard, documents, ranges in _touched(tokens, standing.values(), doc_ids):
        rewritten[shard.tar.path] = _rewritten(tokens, generation, shard, documents, ranges)
        erased += len(documents)
    for path, generation in standing.items():
        known = {name: sources[name] for name in generation.increments if name in sources}
        splits = {
            name: manifest.split_of(
                tokens,
                [rewritten.get(shard.tar.path, shard) for shard in split.shards],
                generation.tokenizer.vocab_size,
            )
            for name, split in generation.splits.items()
        }
        changed = replace(generation, increments=generation.increments | known, splits=splits)
        if changed != generation:
            files.replace(path, dump(changed))
    for unfinished in (tokens / "runs", tokens / JOBS / "runs"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for path in manifest.unnamed(tokens):
        path.unlink()
    return erased


def _touched(
    tokens: Path, standing: Iterable[Generation], doc_ids: AbstractSet[bytes]
) -> Iterator[tuple[Generation, Shard, list[int], list[Range]]]:
    """The shards of all generations that hold any of some documents, each once: see `_touched_of`."""
    seen = set[str]()
    for generation in standing:
        for split in generation.splits.values():
            for shard, rows, ranges in _touched_of(tokens, split.shards, doc_ids):
                if shard.tar.path not in seen:
                    seen.add(shard.tar.path)
                    yield generation, shard, rows, ranges


def _touched_of(
    tokens: Path, shards: list[Shard], doc_ids: AbstractSet[bytes]
) -> Iterator[tuple[Shard, list[int], list[Range]]]:
    """The shards of a split that hold any of some documents: the rows of those that start there, and where
    their tokens stand, those of one that started in an earlier shard included."""
    goes_on = False
    for shard in shards:
        table = manifest.read_table(tokens, shard)
        starts = [*table["start"].tolist(), shard.tokens]
        ranges = [(0, starts[0])] if goes_on and starts[0] else []
        rows = [row for row, doc_id in enumerate(table["doc_id"]) if bytes(doc_id) in doc_ids]
        ranges += [(starts[row], starts[row + 1]) for row in rows]
        if ranges:
            yield shard, rows, ranges
        if len(table):
            goes_on = len(table) - 1 in rows


def _rewritten(
    tokens: Path, generation: Generation, shard: Shard, rows: list[int], ranges: list[Range]
) -> Shard:
    """A shard whose tokens in some ranges are end-of-text, published with its tables; its new entry."""
    stem = "-".join(shard.tar.path.split("-")[:3])
    dtype, eot = np.dtype(generation.dtype), generation.tokenizer.eot
    written = attempt_path(tokens, stem)
    shutil.copyfile(tokens / shard.tar.path, written)
    counts = manifest.read_counts(tokens, shard)
    with written.open("rb+") as file:
        first = 0
        for offset, length in shard.blocks:
            block = np.fromfile(tokens / shard.tar.path, dtype, length, offset=offset)
            for start, end in ranges:
                going = block[max(0, start - first) : max(0, end - first)]
                counts -= np.bincount(going, minlength=len(counts))
                going[:] = eot
            file.seek(offset)
            file.write(block.tobytes())
            first += length
    table = manifest.read_table(tokens, shard)
    table["doc_id"][rows] = np.void(ERASED)
    return Shard(
        **publish_shard(tokens, written, stem, table, counts),
        tokens=shard.tokens,
        documents=int((table["doc_id"] != np.void(ERASED)).sum()),
        blocks=shard.blocks,
    )
