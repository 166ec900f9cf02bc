"""Step `tokenize`: a text shard as two sorted runs of tokens, one for each split.

A run is a raw file of little-endian tokens, the documents in the order of the shuffle and each followed by
end-of-text, and a table of its documents. Memory: the tokens of one text shard.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.pack.manifest import SPLITS
from dataprep.pack.packing import Packing, is_held_out
from dataprep.shards.text_shards import read_texts
from dataprep.store.files import Output
from dataprep.store.step import Made, Part, Save, Task
from dataprep.tokenizer.tokenizer import Tokenizer, load

VERSION = 1
"""Another number when other tokens or another order come out."""
LIBRARIES = ("tiktoken", "tokenizers")
"""Whose versions decide what the tokens of a text are."""
SHUFFLE_SEED = 1
ROW = np.dtype([("key", "<u8"), ("doc_id", "V16"), ("start", "<u8")])
"""A document of a run: its place in the shuffle, its identity, where it starts in tokens from the start."""


def versions(scope: Packing) -> dict[str, str]:
    """What decides the tokens."""
    return {"tokenize": str(VERSION)} | {library: version(library) for library in LIBRARIES}


def plan(scope: Packing, save: Save) -> list[Part]:
    """A part for each text shard of the new increments."""
    return [
        Part(
            name=f"{increment}-{number:05d}",
            size=shard.tar.rows,
            spec={"increment": increment, "number": number},
        )
        for increment in scope.increments
        for number, shard in enumerate(scope.texts(increment))
    ]


def run(task: Task[Packing]) -> Made:
    """Tokenise one text shard into the runs of both splits."""
    scope = task.scope
    shard = scope.texts(task.part.spec["increment"])[task.part.spec["number"]]
    encoder = _encoder(scope.tokenizer)
    rows: dict[str, list[tuple[int, bytes]]] = {split: [] for split in SPLITS}
    texts: dict[str, list[npt.NDArray[Any]]] = {split: [] for split in SPLITS}
    for doc_id, url_key, content in read_texts(scope.corpus, shard):
        split = "val" if is_held_out(url_key, scope.held_out) else "train"
        ids = encoder.encode_array(content)
        text = np.empty(len(ids) + 1, scope.dtype)
        text[:-1], text[-1] = ids, scope.identity.eot
        rows[split].append((xxhash.xxh3_64_intdigest(doc_id, SHUFFLE_SEED), doc_id))
        texts[split].append(text)
        task.tick(1)
    outputs: dict[str, Output] = {}
    for split in SPLITS:
        outputs |= _write(task, split, rows[split], texts[split])
    documents = sum(map(len, rows.values()))
    return Made(outputs=outputs, entered=documents, passed=documents)


def _write(
    task: Task[Packing], split: str, rows: list[tuple[int, bytes]], texts: list[npt.NDArray[Any]]
) -> dict[str, Output]:
    order = sorted(range(len(rows)), key=rows.__getitem__)  # stable: pieces of a document stay in order
    table = np.empty(len(rows), ROW)
    table["key"] = [rows[place][0] for place in order]
    table["doc_id"] = np.frombuffer(b"".join(rows[place][1] for place in order), "V16")
    ends = np.cumsum([len(texts[place]) for place in order], dtype=np.uint64)
    table["start"][:1] = 0
    table["start"][1:] = ends[:-1]
    written = task.attempt(split)
    with written.open("wb") as file:
        for place in order:
            file.write(texts[place].data)
    return {
        f"{split}/tokens": task.publish(written, ".bin", split, rows=len(rows)),
        f"{split}/table": task.publish_array(table, split),
    }


@lru_cache(maxsize=1)
def _encoder(directory: Path) -> Tokenizer:
    """A process loads the tokenizer once, not once a part."""
    return load(directory)
