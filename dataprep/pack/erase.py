"""Erasing documents from token shards: their tokens become end-of-text, so every other token keeps its place.

Each touched shard is written anew beside the old one, then every generation is replaced to name the new one,
then what no generation names is removed. Killed at any moment, the same call finishes it. A generation keeps
its `origin`, the hash of what was first published, by which the runs that pinned it go on.

The caller holds the directory's lock (`locks.alone`). Memory: the table of a shard, and a block.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import numpy as np

from dataprep.pack.manifest import (
    ERASED,
    Manifest,
    add_up,
    dump,
    entry,
    generations,
    load_manifest,
    origin,
    read_table,
    unnamed,
)
from dataprep.store.files import attempt_path, publish, publish_array, replace

Shard = dict[str, Any]
Range = tuple[int, int]


def erase(tokens: Path, doc_ids: AbstractSet[bytes], sources: Mapping[str, str]) -> int:
    """Erase documents from all generations of a token directory; returns how many of its samples they were.

    sources: increment to `manifest.identity` of its text shards as they are now, where they changed.
    """
    manifests = {path: load_manifest(path) for path in generations(tokens).values()}
    entries: dict[str, Shard] = {}
    erased = 0
    for manifest in manifests.values():
        for split in manifest["splits"].values():
            for shard, documents, ranges in _touched(tokens, split["shards"], doc_ids):
                if shard["path"] not in entries:
                    entries[shard["path"]] = _rewritten(tokens, manifest, shard, documents, ranges)
                    erased += len(documents)
    for path, manifest in manifests.items():
        before, first = dump(manifest), origin(manifest)
        manifest["increments"] |= {name: sources[name] for name in manifest["increments"] if name in sources}
        for split in manifest["splits"].values():
            split["shards"] = [entries.get(shard["path"], shard) for shard in split["shards"]]
        add_up(tokens, manifest)
        if dump(manifest) != before:
            manifest["origin"] = first
            replace(path, dump(manifest))
    shutil.rmtree(tokens / "runs", ignore_errors=True)
    for path in unnamed(tokens):
        path.unlink()
    return erased


def _touched(
    tokens: Path, shards: list[Shard], doc_ids: AbstractSet[bytes]
) -> Iterator[tuple[Shard, list[int], list[Range]]]:
    """The shards of a split that hold any of some documents: the rows of those that start there, and where
    their tokens stand, those of one that started in an earlier shard included."""
    goes_on = False
    for shard in shards:
        table = read_table(tokens, shard)
        starts = [*table["start"].tolist(), shard["tokens"]]
        ranges = [(0, starts[0])] if goes_on and starts[0] else []
        rows = [row for row, doc_id in enumerate(table["doc_id"]) if bytes(doc_id) in doc_ids]
        ranges += [(starts[row], starts[row + 1]) for row in rows]
        if ranges:
            yield shard, rows, ranges
        if len(table):
            goes_on = len(table) - 1 in rows


def _rewritten(tokens: Path, manifest: Manifest, shard: Shard, rows: list[int], ranges: list[Range]) -> Shard:
    """A shard whose tokens in some ranges are end-of-text, published with its tables; its new entry."""
    stem = "-".join(shard["path"].split("-")[:3])
    dtype, eot = np.dtype(manifest["dtype"]), manifest["tokenizer"]["eot"]
    written = attempt_path(tokens, stem)
    shutil.copyfile(tokens / shard["path"], written)
    counts = np.zeros(manifest["tokenizer"]["vocab_size"], np.int64)
    with written.open("rb+") as file:
        first = 0
        for offset, length in shard["blocks"]:
            block = np.fromfile(tokens / shard["path"], dtype, length, offset=offset)
            for start, end in ranges:
                block[max(0, start - first) : max(0, end - first)] = eot
            file.seek(offset)
            file.write(block.tobytes())
            counts += np.bincount(block, minlength=len(counts))
            first += length
    tar = publish(tokens, written, stem, ".tar")
    table = read_table(tokens, shard)
    table["doc_id"][rows] = np.void(ERASED)
    return entry(
        tar,
        publish_array(tokens, tokens, f"{stem}.docs", table),
        publish_array(tokens, tokens, f"{stem}.counts", counts),
        tokens=shard["tokens"],
        documents=int((table["doc_id"] != np.void(ERASED)).sum()),
        blocks=shard["blocks"],
    )
