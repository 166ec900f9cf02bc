"""`pack --from-bin`: others' tokens, nanoGPT's `.bin` or Megatron's `.bin` and `.idx`, as token shards.

nanoGPT's file is nothing but tokens, uint16 (uint32 above 65,536 ids), with end-of-text between documents.
Megatron's `.idx` lists the length and the place of each sequence, and which sequences begin a document:

    MMIDIDX and two zero bytes, version 1 (uint64), type of a token (uint8), number of sequences and of bounds
    (uint64 both), the length of each sequence (int32), its byte in the `.bin` (int64), the bounds of
    documents (int64, counted in sequences)

Tokens stay in the order of the files. Memory: a block, and the index of a Megatron file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.errors import DataError, UsageError
from dataprep.pack import manifest
from dataprep.pack.manifest import DOCUMENT, FORMAT, SPLITS, Generation, Shard, TokenizerIdentity
from dataprep.pack.merge import publish_shard
from dataprep.pack.pack import tidy
from dataprep.pack.packing import Layout, is_held_out
from dataprep.store import root_manifest
from dataprep.store.files import attempt_path
from dataprep.store.pool import Progress, Tick
from dataprep.store.tars import append, open_tar
from dataprep.tokenizer import tokenizer

MAGIC = b"MMIDIDX\x00\x00"
TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
"""Megatron's numbers of the integer types of a token."""
CHUNK = 16 << 20
"""Tokens that are looked through at once."""
BUILD = "from-bin"
"""Stands in a generation for the build that it was packed from."""

Tokens = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Bin:
    """A file of tokens. bounds: (documents + 1,) int64, where documents begin; None: at each end-of-text.

    split: where all of it goes; None: each document by its hash.
    """

    path: Path
    tokens: Tokens
    bounds: npt.NDArray[np.int64] | None
    split: str | None = None

    def documents(self, eot: int) -> Iterator[Tokens]:
        """The tokens of each document, mapped, with the end-of-text that it has or without."""
        begin = 0
        for end in self._ends(eot) if self.bounds is None else self.bounds[1:].tolist():
            yield self.tokens[begin:end]
            begin = end

    def _ends(self, eot: int) -> Iterator[int]:
        for first in range(0, len(self.tokens), CHUNK):
            yield from (np.flatnonzero(self.tokens[first : first + CHUNK] == eot) + first + 1).tolist()
        if len(self.tokens) and self.tokens[-1] != eot:
            yield len(self.tokens)


def opened(given: Path, vocab_size: int) -> list[Bin]:
    """The files of tokens at a path: a `.bin`, a prefix of `.bin` and `.idx`, or nanoGPT's folder of two.

    Raises UsageError when nothing of the kind is there, DataError for a file that is damaged.
    """
    if given.is_dir():
        found = {split: given / f"{split}.bin" for split in SPLITS if (given / f"{split}.bin").is_file()}
        if "train" not in found:
            raise UsageError(f"--from-bin {given}: holds no train.bin; give a .bin, or a folder with one")
        return [_opened(path, vocab_size, split) for split, path in found.items()]
    path = given if given.suffix == ".bin" else given.with_name(f"{given.name}.bin")
    if not path.is_file():
        raise UsageError(f"--from-bin {given}: no such file; expected {path}")
    return [_opened(path, vocab_size, None)]


def _opened(path: Path, vocab_size: int, split: str | None) -> Bin:
    index = path.with_suffix(".idx")
    if index.is_file():
        return _megatron(path, index, split)
    return Bin(path, _mapped(path, np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")), None, split)


def _megatron(path: Path, index: Path, split: str | None) -> Bin:
    """Read an index. Raises DataError when it does not describe the file, or the file has gaps."""
    content = index.read_bytes()
    head = np.dtype([("version", "<u8"), ("type", "u1"), ("sequences", "<u8"), ("bounds", "<u8")])
    start = len(MAGIC)
    if not content.startswith(MAGIC) or len(content) < start + head.itemsize:
        raise DataError(f"{index}: is no whole index of Megatron (MMIDIDX); copy it again, or remove it")
    version, kind, sequences, bounds = np.frombuffer(content, head, 1, start)[0].tolist()
    if version != 1 or kind not in TYPES:
        raise DataError(
            f"{index}: version {version} and type {kind} of tokens; expected 1 and an integer type"
        )
    start += head.itemsize
    if len(content) < start + sequences * 12 + bounds * 8:
        raise DataError(
            f"{index}: is cut off: {len(content):,} bytes for {sequences:,} sequences; copy it again"
        )
    lengths = np.frombuffer(content, "<i4", sequences, start).astype(np.int64)
    places = np.frombuffer(content, "<i8", sequences, start + 4 * sequences)
    firsts = np.frombuffer(content, "<i8", bounds, start + 12 * sequences)
    tokens = _mapped(path, np.dtype(TYPES[kind]))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    in_order = bool((places == ends[:-1] * tokens.itemsize).all()) and ends[-1] == len(tokens)
    if not in_order or not len(firsts) or firsts[0] or firsts[-1] != sequences or (np.diff(firsts) < 0).any():
        held = f"{path}, which holds {len(tokens):,} tokens"
        raise DataError(f"{index}: does not describe {held}, whole and in order; copy both again")
    return Bin(path, tokens, ends[firsts], split)


def _mapped(path: Path, dtype: np.dtype[Any]) -> Tokens:
    size = path.stat().st_size
    if not size or size % dtype.itemsize:
        raise DataError(f"{path}: {size:,} bytes are no tokens of {dtype.itemsize} bytes; copy it again")
    return np.asarray(np.memmap(path, dtype, "r"))


def refuse_foreign_ids(files: Iterable[Bin], vocab_size: int) -> None:
    """Raise DataError for the first id that a vocabulary does not have."""
    for file in files:
        for first in range(0, len(file.tokens), CHUNK):
            chunk = file.tokens[first : first + CHUNK]
            if chunk.max() >= vocab_size or chunk.min() < 0:
                place = int(np.flatnonzero((chunk >= vocab_size) | (chunk < 0))[0])
                raise DataError(
                    f"{file.path}: id {chunk[place]} at token {first + place:,} is none of the tokenizer's "
                    f"{vocab_size:,}; give the tokenizer that made it with --tokenizer"
                )


def pack_bins(
    given: Sequence[Path], source: Path, tokens: Path, layout: Layout, progress: Progress
) -> Generation:
    """Make token shards of files of tokens; the caller holds the lock of `tokens`.

    A document's identity is the hash of its tokens, which also decides whether it is held out. One that does
    not end in end-of-text gets it. Raises as `opened` and `refuse_foreign_ids`, and DataError when `tokens`
    holds a generation.
    """
    if manifest.generations(tokens):
        raise DataError(f"{tokens}: holds token shards already; choose another directory")
    encoder = tokenizer.load(source)
    files = [file for each in given for file in opened(each, encoder.vocab_size)]
    refuse_foreign_ids(files, encoder.vocab_size)
    root_manifest.create(tokens)
    tokenizer.copy(source, tokens / "tokenizer")
    generation = Generation(
        format=FORMAT,
        number=1,
        build=BUILD,
        tokenizer=TokenizerIdentity(
            fingerprint=encoder.fingerprint, vocab_size=encoder.vocab_size, eot=encoder.eot
        ),
        dtype=np.dtype("<u2" if encoder.vocab_size <= 1 << 16 else "<u4").str,
        block_tokens=layout.block_tokens,
        held_out=layout.held_out,
        increments={},
        splits={},
    )
    with progress("pack", sum(len(file.tokens) for file in files) * len(SPLITS), "tokens") as tick:
        for split in SPLITS:
            documents = (
                document
                for file in files
                for document in _documents(file, split, encoder.eot, layout.held_out, tick)
            )
            blocks = _blocks(documents, np.dtype(generation.dtype), layout.block_tokens)
            shards = list(_shards(tokens, split, blocks, layout.shard_blocks, encoder.vocab_size))
            generation.splits[split] = manifest.split_of(tokens, shards, encoder.vocab_size)
    published = manifest.publish(tokens, generation)
    manifest.remember(tokens)
    tidy(tokens)
    return published


def _documents(
    file: Bin, split: str, eot: int, held_out: float, tick: Tick
) -> Iterator[tuple[bytes, Tokens]]:
    """The documents of a file that belong to a split, each with its identity."""
    if file.split not in (None, split):
        tick(len(file.tokens))
        return
    for document in file.documents(eot):
        tick(len(document))
        doc_id = xxhash.xxh3_128_digest(document.astype("<u4").tobytes())
        if file.split or is_held_out(doc_id, held_out) == (split == "val"):
            yield doc_id, document
            if not len(document) or document[-1] != eot:
                yield b"", np.array([eot], document.dtype)


Block = tuple[Tokens, list[tuple[int, bytes]]]
"""Some tokens, and the documents that begin in them: where, and who."""


def _blocks(documents: Iterable[tuple[bytes, Tokens]], dtype: np.dtype[Any], size: int) -> Iterator[Block]:
    """The stream of some documents in blocks of `size` tokens, the last one shorter.

    What has no identity belongs to the document before it.
    """
    block, filled, begins = np.empty(size, dtype), 0, list[tuple[int, bytes]]()
    for doc_id, document in documents:
        if doc_id:
            begins.append((filled, doc_id))
        while len(document):
            taken = document[: size - filled]
            block[filled : filled + len(taken)] = taken
            filled, document = filled + len(taken), document[len(taken) :]
            if filled == size:
                yield block, begins
                block, filled, begins = np.empty(size, dtype), 0, []
    if filled:
        yield block[:filled], begins


def _shards(
    tokens: Path, split: str, blocks: Iterator[Block], shard_blocks: int, vocab_size: int
) -> Iterator[Shard]:
    """Write blocks into shards, so many into each."""
    for number, first in enumerate(blocks):
        stem = f"{split}-0001-{number:05d}"
        written = attempt_path(tokens, stem)
        counts, places, begins, length = np.zeros(vocab_size, np.int64), [], [], 0
        with written.open("wb") as file, open_tar(file) as tar:
            for place, (block, inside) in enumerate(chain([first], islice(blocks, shard_blocks - 1))):
                places.append((append(tar, f"{stem}-{place:05d}.bin", block.tobytes()), len(block)))
                counts += np.bincount(block, minlength=vocab_size)
                begins += [(length + begin, doc_id) for begin, doc_id in inside]
                length += len(block)
        outputs = publish_shard(tokens, written, stem, np.array(begins, DOCUMENT), counts)
        yield Shard(**outputs, tokens=length, documents=len(begins), blocks=places)
