"""The first step of a pack: a text shard as two sorted runs of tokens, one for each split.

A run is a raw file of little-endian tokens, the documents in the order of the shuffle and each followed by
end-of-text, and a table of its documents. Runs stand under `runs/`, in a directory named after what decides
them, until the generation is published. Memory: the tokens of one text shard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.pack.manifest import SPLITS
from dataprep.shards.text_shards import TextShard, read_texts
from dataprep.store.files import Output, attempt_path, publish, publish_array
from dataprep.store.records import Record, commit, done
from dataprep.tokenizer.tokenizer import Tokenizer, load

STAGE = "tokenise"
SHUFFLE_SEED = 1
ROW = np.dtype([("key", "<u8"), ("doc_id", "V16"), ("start", "<u8")])
"""A document of a run: its place in the shuffle, its identity, where it starts in tokens from the start."""


@dataclass(frozen=True)
class Job:
    """What all tasks of a pack share; paths are absolute or relative to the working directory."""

    tokens: Path
    tokenizer: Path
    fingerprint: str
    dtype: str
    eot: int
    vocab_size: int
    held_out: float
    block_tokens: int
    shard_blocks: int

    @property
    def shard_tokens(self) -> int:
        """Tokens of a full shard."""
        return self.block_tokens * self.shard_blocks

    def directory(self, increment: str, identity: str) -> Path:
        """Where the runs of an increment stand: another tokenizer, layout or text, another directory."""
        decides = (self.fingerprint, self.held_out, self.block_tokens, self.shard_blocks, identity)
        return self.tokens / "runs" / f"{increment}-{xxhash.xxh3_64_hexdigest(repr(decides).encode())}"


@dataclass(frozen=True)
class Run:
    """One split of a tokenised text shard."""

    tokens: Path
    table: Path


def run_part(
    job: Job, directory: Path, root: Path, number: int, shard: TextShard, tick: Callable[[int], None]
) -> Record:
    """Tokenise one text shard of the corpus at `root` into the runs of both splits."""
    path = directory / f"run-{number:05d}.json"
    inputs = {output.path: output.xxh3_128 for output in (shard.tar, shard.index)}
    if record := done(path, inputs):
        tick(record.passed)
        return record
    encoder = _encoder(job.tokenizer)
    rows: dict[str, list[tuple[int, bytes]]] = {split: [] for split in SPLITS}
    texts: dict[str, list[npt.NDArray[Any]]] = {split: [] for split in SPLITS}
    for doc_id, url_key, content in read_texts(root, shard):
        split = "val" if int.from_bytes(url_key[:8], "big") < job.held_out * 2**64 else "train"
        ids = encoder.encode_array(content)
        text = np.empty(len(ids) + 1, job.dtype)
        text[:-1], text[-1] = ids, job.eot
        rows[split].append((xxhash.xxh3_64_intdigest(doc_id, SHUFFLE_SEED), doc_id))
        texts[split].append(text)
        tick(1)
    outputs = [
        output
        for split in SPLITS
        for output in _write(job, directory, f"{split}-{number:05d}", rows[split], texts[split])
    ]
    documents = sum(map(len, rows.values()))
    return commit(path, Record(STAGE, path.stem, inputs, outputs, documents, documents))


def runs_of(job: Job, records: list[Record], split: str) -> list[Run]:
    """The runs of one split, in the order of their text shards."""
    at = 2 * SPLITS.index(split)
    return [Run(*(job.tokens / output.path for output in record.outputs[at : at + 2])) for record in records]


def _write(
    job: Job, directory: Path, stem: str, rows: list[tuple[int, bytes]], texts: list[npt.NDArray[Any]]
) -> list[Output]:
    order = sorted(range(len(rows)), key=rows.__getitem__)  # stable: pieces of a document stay in order
    table = np.empty(len(rows), ROW)
    table["key"] = [rows[place][0] for place in order]
    table["doc_id"] = np.frombuffer(b"".join(rows[place][1] for place in order), "V16")
    ends = np.cumsum([len(texts[place]) for place in order], dtype=np.uint64)
    table["start"][:1] = 0
    table["start"][1:] = ends[:-1]
    written = attempt_path(directory, stem)
    with written.open("wb") as file:
        for place in order:
            file.write(texts[place].data)
    tokens = publish(job.tokens, written, stem, ".bin", rows=len(rows))
    return [tokens, publish_array(job.tokens, directory, stem, table)]


@lru_cache(maxsize=1)
def _encoder(directory: Path) -> Tokenizer:
    """A process loads the tokenizer once, not once a part."""
    return load(directory)
